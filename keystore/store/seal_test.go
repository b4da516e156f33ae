package store

import (
	"bytes"
	"testing"
)

func TestSeal(t *testing.T) {
	key, about, plain := bytes.Repeat([]byte{1}, keySize), []byte("about"), []byte("secret")
	sealed := must(seal(key, keyLabel, about, plain))(t)
	if got := must(unseal(key, keyLabel, about, sealed))(t); !bytes.Equal(got, plain) || bytes.Contains(sealed, plain) {
		t.Errorf("%q", got)
	}
	if again := must(seal(key, keyLabel, about, plain))(t); bytes.Equal(again, sealed) {
		t.Error("two seals are the same")
	}
	_, err := unseal(key, slotLabel, about, sealed)
	wantErr(t, err, errUnseal)
	_, err = unseal(key, keyLabel, []byte("about others"), sealed)
	wantErr(t, err, errUnseal)
	_, err = unseal(bytes.Repeat([]byte{2}, keySize), keyLabel, about, sealed)
	wantErr(t, err, errUnseal)
	for n := range sealed {
		_, err = unseal(key, keyLabel, about, sealed[:n])
		wantErr(t, err, errUnseal)
	}
}
