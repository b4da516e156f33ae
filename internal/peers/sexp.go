package peers

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strconv"
)

// AgentKey returns a private key in the form in which gpg-agent keeps one that
// no passphrase protects: a canonical S-expression.
func AgentKey(keyPEM []byte) ([]byte, error) {
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, fmt.Errorf("the private key is not in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if len(key.Primes) != 2 {
			return nil, fmt.Errorf("the RSA key has %d primes", len(key.Primes))
		}
		p, q := key.Primes[0], key.Primes[1]
		if p.Cmp(q) > 0 {
			p, q = q, p
		}
		u := new(big.Int).ModInverse(p, q)
		return sexp("private-key", sexp("rsa",
			sexp("n", integer(key.N)), sexp("e", integer(big.NewInt(int64(key.E)))), sexp("d", integer(key.D)),
			sexp("p", integer(p)), sexp("q", integer(q)), sexp("u", integer(u)))), nil
	case *ecdsa.PrivateKey:
		point, err := key.PublicKey.Bytes()
		if err != nil {
			return nil, err
		}
		scalar, err := key.Bytes()
		if err != nil {
			return nil, err
		}
		return sexp("private-key", sexp("ecc",
			sexp("curve", atom([]byte("NIST "+key.Params().Name))), sexp("q", atom(point)),
			sexp("d", integer(new(big.Int).SetBytes(scalar))))), nil
	default:
		return nil, fmt.Errorf("no form for %T", key)
	}
}

// sexp returns a list of a name and of elements that are encoded already.
func sexp(name string, elements ...[]byte) []byte {
	list := append([]byte{'('}, atom([]byte(name))...)
	for _, e := range elements {
		list = append(list, e...)
	}
	return append(list, ')')
}

func atom(octets []byte) []byte {
	return append([]byte(strconv.Itoa(len(octets))+":"), octets...)
}

// integer returns a non-negative number as an atom, with a zero octet in front
// where it would else look negative.
func integer(n *big.Int) []byte {
	return atom(n.FillBytes(make([]byte, n.BitLen()/8+1)))
}
