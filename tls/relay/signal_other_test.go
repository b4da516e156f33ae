//go:build !unix

package relay_test

import "os"

// terminate is how programs are ended.
var terminate = os.Kill
