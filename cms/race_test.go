//go:build race

package cms

// flipStep spares the race detector, which finds nothing here that a fraction
// of the flips does not show; without it every bit is flipped.
const flipStep = 61
