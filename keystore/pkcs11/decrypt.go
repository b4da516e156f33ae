package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"github.com/postseal/postseal/keystore"
)

// Decrypt implements crypto.Decrypter, with the options of *rsa.PrivateKey:
// [*rsa.OAEPOptions] for RSAES-OAEP, and [*rsa.PKCS1v15DecryptOptions] or nil
// for RSAES-PKCS1-v1_5. With a SessionKeyLen a message that is not well formed
// gives a random key of that length and no error, and takes the same time where
// the token computes the raw operation. The first argument is not used.
//
// The error is [rsa.ErrDecryption] for what is not an encrypted message, and a
// [*KeyError] if the key could not be used.
func (k *RSAKey) Decrypt(_ io.Reader, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	size := k.public.Size()
	// What is not below the modulus is public knowledge.
	if len(ciphertext) != size || bytes.Compare(ciphertext, k.public.N.FillBytes(make([]byte, size))) >= 0 {
		return nil, rsa.ErrDecryption
	}
	switch o := opts.(type) {
	case nil:
		return k.decryptV15(ciphertext)
	//lint:ignore SA1019 most mail that is encrypted to RSA keys is so; the session-key form keeps the padding secret
	case *rsa.PKCS1v15DecryptOptions:
		if o.SessionKeyLen > 0 {
			return k.decryptSessionKey(ciphertext, o.SessionKeyLen)
		}
		return k.decryptV15(ciphertext)
	case *rsa.OAEPOptions:
		return k.decryptOAEP(ciphertext, o)
	}
	return nil, fmt.Errorf("pkcs11: options of type %T for decryption", opts)
}

// decrypt decrypts with the first of two mechanisms that the token takes: the
// raw operation, whose result has the size of the modulus, or one that takes
// the padding off. In the second case an error may be about the padding.
func (k *RSAKey) decrypt(ciphertext []byte, padded mechanism) (plain []byte, raw bool, err error) {
	mechanisms := []mechanism{{id: ckmRSAX509}, padded}
	if flags, flagErr := k.t.mod.api.MechanismFlags(k.t.seen.Load().slot, ckmRSAX509); flagErr != nil || flags&ckfDecrypt == 0 {
		mechanisms = mechanisms[1:]
	}
	err = k.run(func(s *session, o object) error {
		chosen, beginErr := k.begin(s, o, "C_DecryptInit", k.t.mod.api.DecryptInit, mechanisms)
		if beginErr != nil {
			return beginErr
		}
		raw = mechanisms[chosen].id == ckmRSAX509
		var callErr error
		plain, callErr = k.t.mod.api.Decrypt(s.h, ciphertext)
		if callErr != nil && !raw && !sessionGone(callErr) && !objectGone(callErr) && !isOneOf(callErr, rvUserNotLoggedIn) {
			// Tokens have many words for bad padding: they are all one.
			return rsa.ErrDecryption
		}
		return called("C_Decrypt", callErr)
	})
	if errors.Is(err, rsa.ErrDecryption) {
		return nil, raw, rsa.ErrDecryption
	}
	if err == nil && raw {
		if len(plain) > k.public.Size() {
			return nil, raw, k.t.keyError(&ModuleError{Function: "C_Decrypt", Text: "a result that is too long"})
		}
		plain = leftPad(plain, k.public.Size())
	}
	return plain, raw, err
}

// decryptSessionKey is RFC 3218, Section 2.3.2.
func (k *RSAKey) decryptSessionKey(ciphertext []byte, size int) ([]byte, error) {
	// RFC 8017, Section 7.2.1: 11 octets are for the padding.
	if size > k.public.Size()-11 {
		return nil, rsa.ErrDecryption
	}
	sessionKey := make([]byte, size)
	_, _ = rand.Read(sessionKey) // never returns an error
	plain, raw, err := k.decrypt(ciphertext, mechanism{id: ckmRSAPKCS})
	switch {
	case errors.Is(err, rsa.ErrDecryption):
		return sessionKey, nil
	case err != nil:
		return nil, err
	case raw:
		openSessionKey(plain, sessionKey)
		return sessionKey, nil
	}
	// A message of another length is not the key: no copy, whatever it is.
	same := subtle.ConstantTimeEq(int32(len(plain)), int32(size))
	padded := make([]byte, size)
	copy(padded, plain)
	subtle.ConstantTimeCopy(same, sessionKey, padded)
	return sessionKey, nil
}

func (k *RSAKey) decryptV15(ciphertext []byte) ([]byte, error) {
	plain, raw, err := k.decrypt(ciphertext, mechanism{id: ckmRSAPKCS})
	if err != nil || !raw {
		return plain, err
	}
	message, ok := openV15(plain)
	if !ok {
		return nil, rsa.ErrDecryption
	}
	return message, nil
}

func (k *RSAKey) decryptOAEP(ciphertext []byte, opts *rsa.OAEPOptions) ([]byte, error) {
	mgf := opts.MGFHash
	if mgf == 0 {
		mgf = opts.Hash
	}
	if !opts.Hash.Available() || !mgf.Available() {
		return nil, &keystore.UnsupportedError{What: fmt.Sprintf("RSAES-OAEP with %v and %v", opts.Hash, mgf)}
	}
	if k.public.Size() < 2*opts.Hash.Size()+2 {
		return nil, rsa.ErrDecryption
	}
	plain, raw, err := k.decrypt(ciphertext, mechanism{id: ckmRSAPKCSOAEP, hash: opts.Hash, mgf: mgf, data: opts.Label})
	if err != nil || !raw {
		return plain, err
	}
	message, ok := openOAEP(plain, opts.Hash, mgf, opts.Label)
	if !ok {
		return nil, rsa.ErrDecryption
	}
	return message, nil
}
