//go:build pkcs11 && cgo

package pkcs11

import (
	"errors"

	ck "github.com/miekg/pkcs11"

	"github.com/postseal/postseal/keystore"
)

// built says whether modules can be loaded.
const built = true

// An adapter is a module by way of package github.com/miekg/pkcs11.
type adapter struct{ ctx *ck.Ctx }

func loadModule(path string) (cryptoki, error) {
	ctx := ck.New(path)
	if ctx == nil {
		return nil, errors.Join(ErrNoModule, errors.New("the library cannot be loaded, or is not a PKCS #11 module"))
	}
	return &adapter{ctx}, nil
}

// value makes an rv of an error of the package.
func value(err error) error {
	if code, ok := err.(ck.Error); ok {
		return rv(code)
	}
	return err
}

// Initialize calls C_Initialize with CKF_OS_LOCKING_OK.
func (a *adapter) Initialize() error { return value(a.ctx.Initialize()) }

func (a *adapter) Finalize() error { return value(a.ctx.Finalize()) }

func (a *adapter) Library() (Library, error) {
	info, err := a.ctx.GetInfo()
	return Library{
		Manufacturer: info.ManufacturerID,
		Description:  info.LibraryDescription,
		Version:      Version{info.LibraryVersion.Major, info.LibraryVersion.Minor},
	}, value(err)
}

func (a *adapter) Slots() ([]uint, error) {
	slots, err := a.ctx.GetSlotList(true)
	return slots, value(err)
}

func (a *adapter) Slot(slot uint) (Slot, error) {
	info, err := a.ctx.GetSlotInfo(slot)
	return Slot{Description: info.SlotDescription, Manufacturer: info.ManufacturerID}, value(err)
}

func (a *adapter) Token(slot uint) (TokenInfo, uint, error) {
	info, err := a.ctx.GetTokenInfo(slot)
	return TokenInfo{Label: info.Label, Manufacturer: info.ManufacturerID, Model: info.Model, Serial: info.SerialNumber}, info.Flags, value(err)
}

func (a *adapter) MechanismFlags(slot, mechanism uint) (uint, error) {
	info, err := a.ctx.GetMechanismInfo(slot, []*ck.Mechanism{ck.NewMechanism(mechanism, nil)})
	return info.Flags, value(err)
}

func (a *adapter) OpenSession(slot uint) (handle, error) {
	s, err := a.ctx.OpenSession(slot, ck.CKF_SERIAL_SESSION)
	return handle(s), value(err)
}

func (a *adapter) CloseSession(s handle) error {
	return value(a.ctx.CloseSession(ck.SessionHandle(s)))
}

func (a *adapter) CheckSession(s handle) error {
	_, err := a.ctx.GetSessionInfo(ck.SessionHandle(s))
	return value(err)
}

func (a *adapter) Login(s handle, user uint, pin []byte) error {
	return value(a.ctx.Login(ck.SessionHandle(s), user, string(pin)))
}

func (a *adapter) Find(s handle, template []attr, most int) (found []object, err error) {
	session := ck.SessionHandle(s)
	if err = a.ctx.FindObjectsInit(session, attributes(template)); err != nil {
		return nil, value(err)
	}
	for len(found) < most {
		some, _, findErr := a.ctx.FindObjects(session, min(100, most-len(found)))
		if findErr != nil || len(some) == 0 {
			err = findErr
			break
		}
		for _, o := range some {
			found = append(found, object(o))
		}
	}
	if finalErr := a.ctx.FindObjectsFinal(session); err == nil {
		err = finalErr
	}
	return found, value(err)
}

func attributes(template []attr) []*ck.Attribute {
	out := make([]*ck.Attribute, 0, len(template))
	for _, t := range template {
		if t.bytes != nil {
			out = append(out, ck.NewAttribute(t.kind, t.bytes))
		} else {
			out = append(out, ck.NewAttribute(t.kind, t.num))
		}
	}
	return out
}

func (a *adapter) Attribute(s handle, o object, kind uint) ([]byte, error) {
	values, err := a.ctx.GetAttributeValue(ck.SessionHandle(s), ck.ObjectHandle(o), []*ck.Attribute{ck.NewAttribute(kind, nil)})
	if err != nil || len(values) != 1 {
		return nil, value(err)
	}
	return values[0].Value, nil
}

func mechanisms(m mechanism) ([]*ck.Mechanism, error) {
	var params any
	switch m.id {
	case ckmRSAPKCSOAEP, ckmRSAPKCSPSS:
		hash, ok := hashMechanisms[m.hash]
		mgf, okMGF := hashMechanisms[m.mgf]
		if !ok || !okMGF {
			return nil, rvMechanismParamInvalid
		}
		if m.id == ckmRSAPKCSPSS {
			params = ck.NewPSSParams(hash.hash, mgf.mgf, uint(m.salt))
		} else {
			params = ck.NewOAEPParams(hash.hash, mgf.mgf, ck.CKZ_DATA_SPECIFIED, m.data)
		}
	}
	return []*ck.Mechanism{ck.NewMechanism(m.id, params)}, nil
}

func (a *adapter) SignInit(s handle, m mechanism, key object) error {
	list, err := mechanisms(m)
	if err != nil {
		return err
	}
	return value(a.ctx.SignInit(ck.SessionHandle(s), list, ck.ObjectHandle(key)))
}

func (a *adapter) Sign(s handle, data []byte) ([]byte, error) {
	out, err := a.ctx.Sign(ck.SessionHandle(s), data)
	return out, value(err)
}

func (a *adapter) DecryptInit(s handle, m mechanism, key object) error {
	list, err := mechanisms(m)
	if err != nil {
		return err
	}
	return value(a.ctx.DecryptInit(ck.SessionHandle(s), list, ck.ObjectHandle(key)))
}

func (a *adapter) Decrypt(s handle, data []byte) ([]byte, error) {
	out, err := a.ctx.Decrypt(ck.SessionHandle(s), data)
	return out, value(err)
}

// secretTemplate is a secret that can be read, and is gone with the session.
func secretTemplate(size int) []*ck.Attribute {
	return []*ck.Attribute{
		ck.NewAttribute(ck.CKA_CLASS, ck.CKO_SECRET_KEY),
		ck.NewAttribute(ck.CKA_KEY_TYPE, ck.CKK_GENERIC_SECRET),
		ck.NewAttribute(ck.CKA_TOKEN, false),
		ck.NewAttribute(ck.CKA_SENSITIVE, false),
		ck.NewAttribute(ck.CKA_EXTRACTABLE, true),
		ck.NewAttribute(ck.CKA_VALUE_LEN, size),
	}
}

func (a *adapter) Agree(s handle, key object, public []byte, size int) ([]byte, error) {
	session := ck.SessionHandle(s)
	params := ck.NewECDH1DeriveParams(ck.CKD_NULL, nil, public)
	derived, err := a.ctx.DeriveKey(session, []*ck.Mechanism{ck.NewMechanism(ck.CKM_ECDH1_DERIVE, params)}, ck.ObjectHandle(key), secretTemplate(size))
	if err != nil {
		return nil, value(err)
	}
	secret, err := a.Attribute(s, object(derived), ckaValue)
	if destroyErr := a.ctx.DestroyObject(session, derived); err == nil {
		err = value(destroyErr)
	}
	if err == nil && len(secret) == 0 {
		err = &keystore.UnsupportedError{What: "a token that keeps the secret of key agreement"}
	}
	return secret, err
}
