//go:build unix

package main

import "io/fs"

// writableByOthers reports whether others than the owner may write to a file.
func writableByOthers(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }
