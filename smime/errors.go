package smime

import (
	"fmt"
	"strconv"
	"strings"
)

// A StructureError says that a message is not built as its type asks for. As
// the Err of a layer it makes the layer bad; among warnings and problems it is
// an oddity.
type StructureError struct{ What string }

func (e *StructureError) Error() string { return e.What }

// A SenderError says that the sender of a message is not its signer, or that the
// sender's name pretends to be somebody else: RFC 8550, Section 3. It is the cause
// in a cms.VerifyError with ReasonUntrusted.
type SenderError struct {
	From      []string // the addresses in the From field; of all, if there are several
	Addresses []string // those of the signer's certificate
	// Shown is the name or comment that shows another address than the signer's,
	// where the address itself is the signer's; else "".
	Shown string
}

func (e *SenderError) Error() string {
	if e.Shown != "" {
		return fmt.Sprintf("the sender is shown as %q, and the signer is %q", e.Shown, e.Addresses)
	}
	if len(e.From) != 1 {
		return fmt.Sprintf("the message has %d senders", len(e.From))
	}
	return fmt.Sprintf("the sender %q is not the signer %q", e.From[0], e.Addresses)
}

// An UncheckedSenderError says that a sender could not be compared with a
// signer, because the message has no From field or the signer's certificate no
// mail address. RFC 8550, Section 3 allows both.
type UncheckedSenderError struct{ What string }

func (e *UncheckedSenderError) Error() string {
	return "the sender cannot be compared with the signer: " + e.What
}

// A DisplayNameError says that the From or Sender field shows an address beside the
// one that counts. In a signed message it is a [*SenderError], too.
type DisplayNameError struct {
	Name    string // as it would be shown
	Address string // the sender's
}

func (e *DisplayNameError) Error() string {
	return fmt.Sprintf("the sender's name %q looks like an address, and the address is %q", e.Name, e.Address)
}

// A ClosedPartError says that the content holds a protected part among others.
// It has not been opened: what is beside it could otherwise steal its content
// or pass as signed.
type ClosedPartError struct {
	Path []int  // number of the part on each level, from 1; a message in a part counts as its part 1
	Type string // media type
}

func (e *ClosedPartError) Error() string {
	path := make([]string, len(e.Path))
	for i, n := range e.Path {
		path[i] = strconv.Itoa(n)
	}
	return fmt.Sprintf("part %s (%s) is protected on its own and was not opened", strings.Join(path, "."), e.Type)
}

// An OuterSignatureError says that a signature lies outside of encryption and
// so says nothing of the content's author.
type OuterSignatureError struct {
	Layer int // index in Message.Layers
}

func (e *OuterSignatureError) Error() string {
	return fmt.Sprintf("the signature of layer %d is outside of the encryption and says nothing of the content's author", e.Layer+1)
}

// An UnauthenticatedError says that the content was encrypted in a way that
// lets others change it, and that no signature shows that nobody did (RFC 8551,
// Section 6). It must not be shown in a way that lets it call home.
type UnauthenticatedError struct {
	Layer int // index in Message.Layers
}

func (e *UnauthenticatedError) Error() string {
	return fmt.Sprintf("the encryption of layer %d does not show whether the content was changed", e.Layer+1)
}
