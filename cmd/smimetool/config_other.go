//go:build !unix

package main

import "io/fs"

// writableByOthers is for systems whose modes do not tell.
func writableByOthers(fs.FileInfo) bool { return false }
