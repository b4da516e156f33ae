package main

import (
	"errors"
	"strings"

	"github.com/postseal/postseal/pki/ca"
)

// explainCA is for certificates that cannot be issued.
func explainCA(err error, e *explanation) bool {
	if re, ok := errors.AsType[*ca.RequestError](err); ok {
		e.code, e.message = exitUsage, fileOf(err)+printable(strings.TrimPrefix(re.Error(), "ca: "))
		return true
	}
	if ce, ok := errors.AsType[*ca.CSRError](err); ok {
		e.code, e.message = exitMalformed, fileOf(err)+printable(strings.TrimPrefix(ce.Error(), "ca: "))
		e.hints = []string{"certificate requests are read in PEM and DER (RFC 2986)"}
		return true
	}
	if errors.As(err, new(*caFileError)) {
		e.code = exitMalformed
		return true
	}
	return false
}
