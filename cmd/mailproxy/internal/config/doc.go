// Package config reads the configuration of mailproxy, which is TOML (1.0).
//
// Everything is validated before anything is used: keys that are not known,
// values that are none, and combinations that make no sense are errors, which
// name the key, its line, and what was expected. All errors of a file are
// reported together. What files that are named in it hold is not looked at.
//
// Relative names of files are relative to the folder of the configuration.
package config
