package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

// The files in the folder of a CA.
const (
	caConfigFile = "ca.json"
	caIndexFile  = "index.jsonl"
	caLockFile   = "lock"
	rootName     = "root" // root.crt and root.key
	issuingName  = "ca"   // ca.crt and ca.key
)

// A caConfig is what a CA was set up with.
type caConfig struct {
	CRL    string `json:"crl_url,omitempty"`
	OCSP   string `json:"ocsp_url,omitempty"`
	Issuer string `json:"issuer_url,omitempty"`
}

// rootURLs are for the issuing CA's own certificate, which is made once.
type rootURLs struct{ crl, issuer string }

func (c caConfig) urls() ca.URLs { return ca.URLs{CRL: c.CRL, OCSP: c.OCSP, Issuer: c.Issuer} }

// A caRecord is one line of the index, to which lines are added and never
// changed.
type caRecord struct {
	Op     string    `json:"op"` // "issue", "revoke" or "crl"
	Time   time.Time `json:"time"`
	Issuer string    `json:"issuer"` // rootName or issuingName

	Serial      string   `json:"serial,omitempty"` // in hexadecimal digits
	Emails      []string `json:"emails,omitempty"`
	Certificate []byte   `json:"certificate,omitempty"` // DER

	Reason pki.RevocationReason `json:"reason,omitempty"`
	Number int64                `json:"number,omitempty"` // of a CRL
}

// A caIndex is what the lines say together.
type caIndex struct {
	issued  map[string]caRecord // by issuer and serial number
	revoked map[string]caRecord
	order   []string // of revocation
	number  map[string]int64
	size    int64 // of the lines that are complete, in octets
}

func indexKey(issuer, serial string) string { return issuer + " " + serial }

// parseIndex reads the lines. The last one may be cut off, when the program was
// killed as it wrote: nobody has been told that it is there.
func parseIndex(name string, data []byte) (*caIndex, error) {
	x := &caIndex{issued: map[string]caRecord{}, revoked: map[string]caRecord{}, number: map[string]int64{}}
	for line := 1; ; line++ {
		text, rest, complete := bytes.Cut(data, []byte("\n"))
		if !complete {
			return x, nil
		}
		data = rest
		x.size += int64(len(text)) + 1
		var r caRecord
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, &caFileError{name: name, msg: fmt.Sprintf("line %d is damaged", line)}
		}
		x.apply(r)
	}
}

func (x *caIndex) apply(r caRecord) {
	key := indexKey(r.Issuer, r.Serial)
	switch r.Op {
	case "issue":
		x.issued[key] = r
	case "revoke":
		if _, twice := x.revoked[key]; !twice {
			x.revoked[key] = r
			x.order = append(x.order, key)
		}
	case "crl":
		x.number[r.Issuer] = max(x.number[r.Issuer], r.Number)
	}
}

// A caFileError says that a file of a CA is not as it has to be.
type caFileError struct{ name, msg string }

func (e *caFileError) Error() string { return e.name + ": " + e.msg }

// A caStore is the folder of a CA.
type caStore struct {
	a      *app
	dir    string
	config caConfig
}

func (a *app) openCA(dir string) (*caStore, error) {
	if dir == "" {
		return nil, &usageError{"the folder of the CA is needed", []string{"--dir DIR; smimetool ca init --dir DIR makes one"}}
	}
	s := &caStore{a: a, dir: dir}
	data, err := a.readFile(s.path(caConfigFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &usageError{dir + ": there is no CA in this folder", []string{"smimetool ca init --dir DIR makes one"}}
	}
	if err != nil {
		return nil, err
	}
	if err = json.Unmarshal(data, &s.config); err != nil {
		return nil, &caFileError{s.path(caConfigFile), "is damaged"}
	}
	return s, nil
}

func (s *caStore) path(name string) string { return filepath.Join(s.dir, name) }

// certificate reads that of the root or of the issuing CA.
func (s *caStore) certificate(which string) (*pki.Certificate, error) {
	certs, err := s.a.readCerts([]string{s.path(which + ".crt")})
	if err != nil {
		return nil, err
	}
	return certs[0], nil
}

// authority reads a certificate and its private key.
func (s *caStore) authority(which string) (*ca.Authority, error) {
	cert, err := s.certificate(which)
	if err != nil {
		return nil, err
	}
	name := s.path(which + ".key")
	data, err := s.a.readFile(name)
	if err != nil {
		return nil, err
	}
	key, err := keystore.ParsePrivateKey(name, data, s.a.secret.ask)
	if err != nil {
		return nil, err
	}
	authority, err := ca.New(cert, key)
	return authority, inFile(name, err)
}

// lockWait is how long another process may have the lock.
const lockWait = 30 * time.Second

// update locks the folder, reads the index, and has f say what to add to it.
// What f returns is on the disk when update returns nil.
func (s *caStore) update(f func(x *caIndex) ([]caRecord, error)) error {
	lock, err := os.OpenFile(s.path(caLockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		locked, lockErr := tryLock(lock)
		if lockErr != nil {
			return inFile(s.path(caLockFile), lockErr)
		}
		if locked {
			break
		}
		if time.Since(start) > lockWait {
			return &caFileError{s.path(caLockFile), "another process has been using this CA for too long"}
		}
	}
	file, err := os.OpenFile(s.path(caIndexFile), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	x, err := parseIndex(s.path(caIndexFile), data)
	if err != nil {
		return err
	}
	records, err := f(x)
	if err != nil {
		return err
	}
	return appendRecords(file, x.size, records)
}

// appendRecords writes lines after those that are complete.
func appendRecords(file *os.File, at int64, records []caRecord) error {
	var lines bytes.Buffer
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		lines.Write(line)
		lines.WriteByte('\n')
	}
	if err := file.Truncate(at); err != nil {
		return err
	}
	if _, err := file.WriteAt(lines.Bytes(), at); err != nil {
		return errors.Join(err, file.Truncate(at))
	}
	return file.Sync()
}

// read reads the index without the lock: what is added meanwhile does no harm.
func (s *caStore) read() (*caIndex, error) {
	data, err := os.ReadFile(s.path(caIndexFile))
	if err != nil {
		return nil, err
	}
	return parseIndex(s.path(caIndexFile), data)
}

func issueRecord(issuer string, c *pki.Certificate) caRecord {
	return caRecord{
		Op: "issue", Time: time.Now().UTC().Truncate(time.Second), Issuer: issuer,
		Serial: hex.EncodeToString(c.Serial), Emails: c.Emails, Certificate: c.Raw,
	}
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// writeAll writes output that appears when it is complete.
func (a *app) writeAll(path string, data []byte, private bool) error {
	out, err := a.create(path, streamed, private)
	if err != nil {
		return err
	}
	defer out.Discard()
	if _, err = out.Write(data); err != nil {
		return err
	}
	return out.Commit()
}
