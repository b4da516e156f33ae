//go:build !race

package cms

// flipStep is 1 to flip every bit of a message.
const flipStep = 1
