// Mailproxy stands between mail clients and their mail server, and speaks
// S/MIME for them: mail that is sent through it is signed and encrypted by
// policy, and mail that is read through it is shown opened, with the verdict in
// its header.
package main

import "os"

func main() { os.Exit(newApp().run(os.Args[1:])) }
