//go:build !pkcs11 || !cgo

package pkcs11

// built says whether modules can be loaded.
const built = false

func loadModule(string) (cryptoki, error) { return nil, ErrNotBuilt }
