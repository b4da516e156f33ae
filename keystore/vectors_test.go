package keystore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"

	//lint:ignore SA1019 old keys are DSA keys (RFC 4134)
	"crypto/dsa"
)

func TestLAMPS(t *testing.T) {
	for _, name := range []string{"alice", "bob", "carlos", "dana"} {
		base := vector(t, "rfc9216/"+name)
		data := readFileT(t, base+".p12")
		asked := 0
		ids, err := Load(name, data, answer(name, &asked))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(ids) != 2 || asked != 1 || len(ids[0].Chain) != 1 {
			t.Errorf("%s: %d identities, %d others, asked %d times", name, len(ids), len(ids[0].Chain), asked)
		}
		for _, use := range []string{".sign", ".encrypt"} {
			pair, pairErr := LoadPair("cert", readFileT(t, base+use+".crt"), "key", readFileT(t, base+use+".key"), nil)
			if pairErr != nil {
				t.Errorf("%s%s: %v", name, use, pairErr)
				continue
			}
			found := false
			for _, id := range ids {
				if bytes.Equal(id.Certificate.Raw, pair[0].Certificate.Raw) {
					found = sameKey(id.Key, pair[0].Key)
				}
			}
			if !found {
				t.Errorf("%s%s is not in the PKCS#12 file", name, use)
			}
		}
		asked = 0
		_, err = Load(name, data, answer("wrong", &asked))
		wantErr(t, name, err, name, ErrPassphrase)
		if asked != 1 {
			t.Errorf("%s: asked %d times", name, asked)
		}
		if want := "wrong passphrase for " + name; err.Error() != want {
			t.Errorf("%q, want %q", err.Error(), want)
		}
	}
}

func TestRFC4134Keys(t *testing.T) {
	pairs := map[string]string{
		"AlicePrivDSSSign": "AliceDSSSignByCarlNoInherit", "AlicePrivRSASign": "AliceRSASignByCarl",
		"BobPrivRSAEncrypt": "BobRSASignByCarl", "CarlPrivDSSSign": "CarlDSSSelf", "CarlPrivRSASign": "CarlRSASelf",
		"DianePrivDSSSign": "DianeDSSSignByCarlInherit", "DianePrivRSASignEncrypt": "DianeRSASignByCarl",
	}
	files, err := filepath.Glob(vector(t, "rfc4134/*.pri"))
	if err != nil || len(files) != len(pairs) {
		t.Fatalf("%d keys, %v", len(files), err)
	}
	for key, cert := range pairs {
		certData := readFileT(t, vector(t, "rfc4134/"+cert+".cer"))
		keyData := readFileT(t, vector(t, "rfc4134/"+key+".pri"))
		ids, pairErr := LoadPair(cert, certData, key, keyData, nil)
		if pairErr != nil || len(ids) != 1 {
			t.Errorf("%s: %d identities, %v", key, len(ids), pairErr)
			continue
		}
		if k, ok := ids[0].Key.(*dsa.PrivateKey); ok {
			public := k.PublicKey
			digest := make([]byte, 20)
			r, s, signErr := dsa.Sign(rand.Reader, k, digest)
			if signErr != nil || !dsa.Verify(&public, digest, r, s) {
				t.Errorf("%s: the key does not sign: %v", key, signErr)
			}
		}
	}
	_, err = LoadPair("cert", readFileT(t, vector(t, "rfc4134/BobRSASignByCarl.cer")),
		"key", readFileT(t, vector(t, "rfc4134/AlicePrivRSASign.pri")), nil)
	wantErr(t, "the key of another", err, "key", ErrNoMatch)
}

func TestCertificateFiles(t *testing.T) {
	for _, c := range []struct {
		pattern string
		count   int
	}{
		{"rfc4134/*.cer", 7}, {"rfc9216/*.crt", 12}, {"pkits/certs/*.crt", 405},
	} {
		files, err := filepath.Glob(vector(t, c.pattern))
		if err != nil || len(files) != c.count {
			t.Fatalf("%s: %d files, %v", c.pattern, len(files), err)
		}
		var all []byte
		isDER := false
		for _, name := range files {
			data := readFileT(t, name)
			certs, certErr := ParseCertificates(name, data)
			if certErr != nil || len(certs) != 1 {
				t.Errorf("%s: %d certificates, %v", name, len(certs), certErr)
			}
			isDER = data[0] == 0x30
			all = append(all, data...)
		}
		certs, err := ParseCertificates("all", all)
		if err != nil || len(certs) != c.count {
			t.Errorf("%s in one file (DER: %v): %d certificates, %v", c.pattern, isDER, len(certs), err)
		}
	}
}

func TestOpenSSLVectors(t *testing.T) {
	unsupported := errors.New("some UnsupportedError")
	want := map[string]error{
		"smdh.pem": unsupported, "smec2.pem": unsupported, // X9.42 Diffie-Hellman, K-283
		"smdsap.pem": ErrNoKey, "smrsa3-cert.pem": ErrNoKey, "smrsa3-key.pem": ErrNoCertificate,
		"smdsa1.pem": nil, "smdsa2.pem": nil, "smdsa3.pem": nil, "smec1.pem": nil, "smec3.pem": nil,
		"smroot.pem": nil, "smrsa1.pem": nil, "smrsa2.pem": nil, "smrsa3.pem": nil,
	}
	files, err := filepath.Glob(vector(t, "openssl/sm*.pem"))
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		ids, loadErr := Load(name, readFileT(t, path), nil)
		switch w := want[name]; {
		case errors.Is(w, unsupported):
			if !errors.As(loadErr, new(*UnsupportedError)) {
				t.Errorf("%s: %v", name, loadErr)
			}
		case w != nil:
			wantErr(t, name, loadErr, name, w)
		case loadErr != nil || len(ids) != 1:
			t.Errorf("%s: %d identities, %v", name, len(ids), loadErr)
		}
	}
}
