package keystore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"

	"github.com/postseal/postseal/internal/ber"
)

var pemStart = []byte("-----BEGIN ")

// isPEM reports whether there is a PEM block, at the start of a line.
func isPEM(data []byte) bool {
	data = trimBOM(data)
	return bytes.HasPrefix(data, pemStart) || bytes.Contains(data, append([]byte("\n"), pemStart...))
}

// trimBOM takes a byte order mark off, which Windows editors write.
func trimBOM(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) }

// pemBlocks returns the blocks in data, of which there is at least one.
func pemBlocks(data []byte) ([]*pem.Block, error) {
	data = trimBOM(data)
	var blocks []*pem.Block
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		if blocks = append(blocks, b); len(blocks) > maxObjects {
			return nil, &LimitError{"objects in a file"}
		}
	}
	if len(blocks) == 0 {
		return nil, ErrFormat
	}
	return blocks, nil
}

func isKeyBlock(b *pem.Block) bool {
	return b.Type == "PRIVATE KEY" || strings.HasSuffix(b.Type, " PRIVATE KEY")
}

// parseKeyBlock reads a private key in a PEM block.
func parseKeyBlock(b *pem.Block, a *asker, w *work) (crypto.PrivateKey, error) {
	if b.Type == "OPENSSH PRIVATE KEY" {
		return nil, &UnsupportedError{What: "a key in OpenSSH's own format"}
	}
	data, err := decryptBlock(b, a, w)
	if err != nil {
		return nil, err
	}
	object, err := ber.Normalize(data, maxDepth)
	if err != nil {
		if data != nil && isEncryptedBlock(b) {
			return nil, ErrPassphrase
		}
		return nil, malformed("private key")
	}
	return parseKey(object, a, w)
}

func isEncryptedBlock(b *pem.Block) bool {
	//lint:ignore SA1019 old keys are encrypted in this way, and have to be read
	return x509.IsEncryptedPEMBlock(b)
}

// decryptBlock returns what a block holds, after the decryption of RFC 1421,
// Section 4.6.1.1, as OpenSSL does it ("Proc-Type: 4,ENCRYPTED").
func decryptBlock(b *pem.Block, a *asker, w *work) ([]byte, error) {
	if !isEncryptedBlock(b) {
		return b.Bytes, nil
	}
	passphrase, err := a.passphrase()
	if err != nil {
		return nil, err
	}
	if err = w.spend(1); err != nil {
		return nil, err
	}
	//lint:ignore SA1019 old keys are encrypted in this way, and have to be read
	plain, err := x509.DecryptPEMBlock(b, passphrase)
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, ErrPassphrase
	}
	if err != nil {
		return nil, &SyntaxError{"encrypted PEM block", err}
	}
	return plain, nil
}
