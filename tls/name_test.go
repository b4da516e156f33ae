package tls

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"slices"
	"testing"
)

// otherName is a GeneralName with a type, and a value of some tag.
func otherName(id asn1.ObjectIdentifier, tag int, value string) []byte {
	inner, err := asn1.Marshal(asn1.RawValue{Tag: tag, Bytes: []byte(value)})
	if err != nil {
		panic(err)
	}
	explicit, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner})
	if err != nil {
		panic(err)
	}
	oid, err := asn1.Marshal(id)
	if err != nil {
		panic(err)
	}
	all, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: append(oid, explicit...)})
	if err != nil {
		panic(err)
	}
	return all
}

// TestVerifyName is RFC 9525 with all kinds of names.
func TestVerifyName(t *testing.T) {
	san := slices.Concat([]byte{0x82, 1, 'x'}, otherName(oidDNSSRV, asn1.TagIA5String, "_imaps.Example.org"),
		otherName(oidDNSSRV, asn1.TagUTF8String, "_pop3s.example.org"), otherName(asn1.ObjectIdentifier{1, 2, 3}, asn1.TagIA5String, "_sieve.example.org"),
		otherName(oidDNSSRV, asn1.TagIA5String, "_submission.*.example.org"), otherName(oidDNSSRV, asn1.TagIA5String, "ldap.example.org"))
	value, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: san})
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		Subject: pkix.Name{CommonName: "common.example.org"}, DNSNames: []string{"mail.example.org", "*.wild.example.org", "f*.example.org"},
		IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1), net.ParseIP("2001:db8::1")},
		Extensions:  []pkix.Extension{{Id: oidSubjectAltName, Value: value}},
	}
	for name, good := range map[string]bool{
		"mail.example.org": true, "MAIL.Example.ORG.": true, "a.wild.example.org": true, "192.0.2.1": true, "2001:db8::1": true, "_imaps.example.org": true, "_IMAPS.example.org.": true,
		"common.example.org": false, "wild.example.org": false, "a.b.wild.example.org": false, "foo.example.org": false, "192.0.2.2": false, "example.org": false, "": false,
		"_imaps.mail.example.org": false, "_imap.example.org": false, "_pop3s.example.org": false, "_sieve.example.org": false, "_submission.a.example.org": false, "_ldap.example.org": false, "_": false,
	} {
		found, verifyErr := VerifyName(cert, "nobody.example.org", name)
		if (verifyErr == nil) != good || good && found != name {
			t.Errorf("%q: %q, %v", name, found, verifyErr)
		}
		if e, ok := errors.AsType[*NameError](verifyErr); !good && (!ok || len(e.Wanted) != 2 || len(e.Has) == 0 || Advice(verifyErr) == "") {
			t.Errorf("%q: %v", name, verifyErr)
		}
	}
	// What is malformed is no name, at whatever octet it ends.
	for i := range value {
		cert.Extensions[0].Value = value[:i]
		if _, err = VerifyName(cert, "_imaps.example.org"); i < len(value)-1 && err == nil && len(serviceNames(cert)) == 0 {
			t.Errorf("cut at %d: found", i)
		}
	}
	none := &x509.Certificate{}
	if _, err = VerifyName(none); !errors.As(err, new(*NameError)) {
		t.Errorf("no names: %v", err)
	}
}
