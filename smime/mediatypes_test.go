package smime

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postseal/postseal/internal/mimeraw"
)

// What is remembered of Content-Type fields is what reading them again gives,
// however many there are, and is bounded.
func TestMediaTypes(t *testing.T) {
	values := []string{"text/plain", "garbage", "", "multipart/signed; boundary=a", "application/pkcs7-mime; name=x.p7m", strings.Repeat("x", 2*maxTypeField) + "/y"}
	for i := range 10 {
		values = append(values, fmt.Sprintf("multipart/mixed; boundary=b%d", i))
	}
	types := new(mediaTypes)
	for round := range 3 {
		for i, value := range values {
			for range 2 {
				h := &mimeraw.Header{Fields: []mimeraw.Field{{Raw: []byte("Subject: x\r\n")}, {Raw: []byte("content-type: " + value + "\r\n")}}}
				want, wantErr := mimeraw.ParseMediaType(value)
				got, ok, err := types.read(h)
				if !ok || err != wantErr || got.String() != want.String() {
					t.Fatalf("round %d, %d: %v, %v, %v; want %v, %v", round, i, got, ok, err, want, wantErr)
				}
				if m := types.of(h, "a/b"); (err != nil) != (m.Type == textPlain && value != textPlain) {
					t.Errorf("%q is %q", value, m.Type)
				}
			}
		}
	}
	for _, known := range types.last {
		if len(known.raw) > maxTypeField {
			t.Errorf("a field of %d octets is remembered", len(known.raw))
		}
	}
	none := &mimeraw.Header{}
	if _, ok, err := types.read(none); ok || err != nil || types.of(none, "a/b").Type != "a/b" || types.recognise(none) != kindOther {
		t.Error("a header without the field has one")
	}
}
