package pkcs11

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// modulePath returns the path of the module to use. fixed is that of the
// options.
func (u *URI) modulePath(fixed string, dirs []string) (string, error) {
	path, hasPath := u.Query(QueryModulePath)
	name, hasName := u.Query(QueryModuleName)
	if fixed != "" {
		if hasPath && !sameFile(path, fixed) || hasName && !sameModule(name, fixed) {
			return "", ErrOtherModule
		}
		return fixed, nil
	}
	// RFC 7512, Section 2.4: a relative module-path SHOULD be rejected.
	if hasPath && !filepath.IsAbs(path) || !hasPath && !hasName {
		return "", ErrNoModule
	}
	if hasPath {
		info, err := os.Stat(path)
		if err != nil {
			return "", errors.Join(ErrNoModule, err)
		}
		if !info.IsDir() {
			return path, nil
		}
		// RFC 7512, Section 2.4: it may be the folder of the module.
		dirs = []string{path}
	} else if dirs == nil {
		dirs = moduleDirs()
	}
	if hasName {
		for _, dir := range dirs {
			entries, err := os.ReadDir(dir)
			if err != nil {
				continue
			}
			for _, e := range entries {
				if isLibrary(e.Name()) && sameModule(name, e.Name()) {
					return filepath.Join(dir, e.Name()), nil
				}
			}
		}
	}
	return "", ErrNoModule
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// sameModule compares a module-name with the name of a file. RFC 7512, Section
// 2.4: the name is without affixes of the system, and case does not matter.
func sameModule(name, file string) bool {
	return name != "" && strings.EqualFold(stem(name), stem(filepath.Base(file)))
}

var libraryEndings = []string{".so", ".dylib", ".dll"}

func isLibrary(file string) bool {
	for _, ending := range libraryEndings {
		if strings.HasSuffix(strings.ToLower(file), ending) {
			return true
		}
	}
	return false
}

func stem(file string) string {
	for _, ending := range libraryEndings {
		if isLibrary(file) && strings.HasSuffix(strings.ToLower(file), ending) {
			file = file[:len(file)-len(ending)]
			break
		}
	}
	if len(file) > 3 && strings.EqualFold(file[:3], "lib") {
		file = file[3:]
	}
	return file
}

// moduleDirs are the folders in which systems have their modules.
func moduleDirs() []string {
	switch runtime.GOOS {
	case "windows":
		return []string{filepath.Join(os.Getenv("SystemRoot"), "System32")}
	case "darwin":
		return []string{"/usr/local/lib/pkcs11", "/opt/homebrew/lib/pkcs11", "/Library/OpenSC/lib", "/usr/local/lib/softhsm",
			"/opt/homebrew/lib/softhsm"}
	}
	var dirs []string
	triplets := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu", "386": "i386-linux-gnu",
		"arm": "arm-linux-gnueabihf", "riscv64": "riscv64-linux-gnu", "ppc64le": "powerpc64le-linux-gnu", "s390x": "s390x-linux-gnu"}
	if t := triplets[runtime.GOARCH]; t != "" {
		dirs = append(dirs, "/usr/lib/"+t+"/pkcs11", "/usr/lib/"+t+"/softhsm", "/usr/lib/"+t)
	}
	return append(dirs, "/usr/lib64/pkcs11", "/usr/lib64/softhsm", "/usr/lib/pkcs11", "/usr/lib/softhsm", "/usr/local/lib/pkcs11",
		"/usr/local/lib/softhsm")
}

// A module is a loaded library. C_Initialize is called once, however many
// tokens are open.
type module struct {
	api     cryptoki
	library Library
	pins    pins

	refs    int  // guarded by modules.mu
	foreign bool // somebody else in this process has initialized it
}

// modules are those that were loaded, by path. They are never unloaded: that
// crashes in some, and they may be needed again.
var modules struct {
	mu sync.Mutex
	m  map[string]*module
}

// acquire returns a module that has been initialized.
func acquire(path string, load func(path string) (cryptoki, error)) (*module, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	modules.mu.Lock()
	defer modules.mu.Unlock()
	m := modules.m[path]
	if m == nil {
		api, err := load(path)
		if err != nil {
			return nil, err
		}
		m = &module{api: api}
		if modules.m == nil {
			modules.m = make(map[string]*module)
		}
		modules.m[path] = m
	}
	if m.refs == 0 {
		if err := m.initialize(); err != nil {
			return nil, err
		}
	}
	m.refs++
	return m, nil
}

func (m *module) initialize() error {
	err := m.api.Initialize()
	m.foreign = isOneOf(err, rvAlreadyInitialized)
	if err != nil && !m.foreign {
		return called("C_Initialize", err)
	}
	if m.library, err = m.api.Library(); err != nil {
		err = called("C_GetInfo", err)
		if !m.foreign {
			err = errors.Join(err, m.api.Finalize())
		}
	}
	return err
}

// release undoes one acquire.
func (m *module) release() error {
	modules.mu.Lock()
	defer modules.mu.Unlock()
	if m.refs--; m.refs > 0 || m.foreign {
		return nil
	}
	return called("C_Finalize", m.api.Finalize())
}

// A foundToken is a token in its slot.
type foundToken struct {
	slot uint
	info TokenInfo
}

// tokens returns the tokens that a URI names.
func (m *module) tokens(u *URI) ([]foundToken, error) {
	slots, err := m.api.Slots()
	if err != nil {
		return nil, called("C_GetSlotList", err)
	}
	var found []foundToken
	for _, id := range slots {
		slot, err := m.api.Slot(id)
		if sessionGone(err) {
			continue
		}
		if err != nil {
			return nil, called("C_GetSlotInfo", err)
		}
		info, flags, err := m.api.Token(id)
		if sessionGone(err) || err == nil && flags&ckfTokenInitialized == 0 {
			continue // taken out just now, or blank
		}
		if err != nil {
			return nil, called("C_GetTokenInfo", err)
		}
		slot.ID = uint64(id)
		info.Library, info.Slot = m.library, slot
		info.LoginRequired = flags&ckfLoginRequired != 0
		info.PINPad = flags&ckfProtectedPath != 0
		info.Locked, info.LastTry = flags&ckfUserPINLocked != 0, flags&ckfUserPINFinalTry != 0
		if u.MatchToken(&info) {
			found = append(found, foundToken{id, info})
		}
	}
	return found, nil
}
