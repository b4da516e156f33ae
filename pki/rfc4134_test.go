package pki

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRevocationRFC4134 asks the lists of Carl, who are two CAs: of version 1,
// without nextUpdate, signed with DSA and SHA-1 or with RSA and MD5.
func TestRevocationRFC4134(t *testing.T) {
	certs := readCerts(t, "rfc4134/*.cer")
	at := time.Date(1999, 9, 20, 0, 0, 0, 0, time.UTC)
	lists := make(map[string]*CRL)
	for _, name := range []string{"CarlDSSCRLEmpty", "CarlDSSCRLForAll", "CarlDSSCRLForCarl", "CarlRSACRLEmpty", "CarlRSACRLForAll", "CarlRSACRLForCarl"} {
		raw, err := os.ReadFile(filepath.Join(vectorsDir(t), "rfc4134", name+".crl"))
		if err != nil {
			t.Fatal(err)
		}
		if lists[name], err = ParseCRL(raw); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	allow := []string{"sha1", "md5", "dsa", "rsa1024"}
	asked, revoked := 0, 0
	for leaf, c := range certs {
		root := certs["CarlRSASelf.cer"]
		if strings.Contains(leaf, "DSS") {
			root = certs["CarlDSSSelf.cer"]
		}
		if c == root {
			continue
		}
		chain, err := NewRoots([]*Certificate{root}).Verify(c, ChainOptions{Time: at, Allow: allow})
		if err != nil {
			t.Errorf("%s: %v", leaf, err)
			continue
		}
		for name, list := range lists {
			check := &Revocation{Time: at, CRLs: []*CRL{list}, Allow: allow, MaxAge: 60 * 24 * time.Hour}
			statuses, checkErr := check.Check(context.Background(), chain)
			is := errors.As(checkErr, new(*RevokedError))
			same := strings.Contains(name, "DSS") == strings.Contains(leaf, "DSS")
			asked++
			if is {
				revoked++
			}
			if want := same && strings.HasSuffix(name, "ForAll"); is != want || is != (len(statuses) > 0 && statuses[0].Status == RevocationRevoked) {
				t.Errorf("%s in %s: %v", leaf, name, checkErr)
			}
			check.Allow = allow[:2]
			if strings.Contains(name, "RSA") {
				check.Allow = []string{"sha1", "rsa1024"}
			}
			if _, err = check.Check(context.Background(), chain); errors.As(err, new(*RevokedError)) || err == nil {
				t.Errorf("%s in %s, which is signed by weak means: %v", leaf, name, err)
			}
		}
	}
	if asked != 30 || revoked != 5 {
		t.Errorf("%d of %d are revoked", revoked, asked)
	}
}
