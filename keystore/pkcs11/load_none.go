//go:build !pkcs11 || !cgo

package pkcs11

func loadModule(string) (cryptoki, error) { return nil, ErrNotBuilt }
