package policy

import (
	"context"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"testing"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls/mtasts"
)

// noPolicies is a client that reaches no web server.
func noPolicies(t *testing.T, r dane.Resolver) *mtasts.Client {
	t.Helper()
	c, err := mtasts.New(&mtasts.Options{Resolver: r, Cache: mtasts.NewMemoryCache(nil),
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no web") }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// subjectAltName is the extension with a DNS name and an SRVName.
func subjectAltName(name, service string) pkix.Extension {
	type srv struct {
		ID    asn1.ObjectIdentifier
		Value string `asn1:"explicit,tag:0,ia5"`
	}
	one, err := asn1.MarshalWithParams(srv{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}, service}, "tag:0")
	if err != nil {
		panic(err)
	}
	two := append([]byte{0x82, byte(len(name))}, name...)
	value, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: append(one, two...)})
	if err != nil {
		panic(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}
}
