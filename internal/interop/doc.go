// Package interop has tests alone: what this project makes is opened by other
// implementations, and what they make is opened here, over algorithms, layouts
// and sizes of content. The table they print stands in docs/interop.md:
//
//	go test ./internal/interop -run TestMatrix -update
package interop
