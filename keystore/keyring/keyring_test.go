package keyring

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zalando/go-keyring"
	"go.uber.org/goleak"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
)

// The test binary is started again in a desktop session, where it does one of
// these tasks with the store of POSTSEAL_KEYRING_STORE.
const (
	taskMake = "make" // a store with an identity
	taskRead = "read" // reads the private key
)

func TestMain(m *testing.M) {
	task := os.Getenv("POSTSEAL_KEYRING_TASK")
	if task == "" {
		goleak.VerifyTestMain(m)
		return
	}
	// Where a keyring asks a user, nobody is there.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := runTask(ctx, task, os.Getenv("POSTSEAL_KEYRING_STORE")); err != nil {
		fmt.Println(err)
		if errors.Is(err, ErrUnavailable) {
			os.Exit(exitUnavailable)
		}
		if errors.Is(err, ErrNotFound) {
			os.Exit(exitNotFound)
		}
		os.Exit(3)
	}
}

const (
	exitUnavailable = 4
	exitNotFound    = 5
)

func runTask(ctx context.Context, task, path string) error {
	s, err := store.Open(ctx, path, store.Options{Key: &Keyring{}})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if task == taskMake {
		return addIdentity(ctx, s)
	}
	ids, err := s.Identities(ctx, "")
	if err != nil || len(ids) != 1 {
		return fmt.Errorf("%d identities, %w", len(ids), err)
	}
	_, err = s.PrivateIdentity(ctx, ids[0].Fingerprint)
	return err
}

func addIdentity(ctx context.Context, s *store.Store) error {
	ca, err := testpki.NewCA("Root")
	if err != nil {
		return err
	}
	p, err := ca.Issue(testpki.Profile{Key: testpki.P256})
	if err != nil {
		return err
	}
	_, err = s.AddIdentity(ctx, keystore.Identity{Certificate: pki.FromX509(p.Cert), Key: p.Key})
	return err
}

// session runs a task in a desktop session of its own, with the keyring of a
// home, and returns its exit code.
func session(t *testing.T, home, task string, withKeyring bool) (int, string) {
	t.Helper()
	for _, name := range []string{"dbus-run-session", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing", name)
			}
			t.Skipf("%s is missing", name)
		}
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A bus without folders of services starts none, such as the user's keyring.
	config := filepath.Join(home, "bus.conf")
	if err = os.WriteFile(config, []byte(busConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	script := `exec "$0"`
	if withKeyring {
		// It is on the bus some time after it says that it is there.
		script = `printf %s "login password" | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1 || exit 9
			for i in 1 2 3 4 5 6 7 8 9 10; do
				"$0"; code=$?
				[ $code = ` + strconv.Itoa(exitUnavailable) + ` ] || exit $code
				sleep 0.3
			done
			exit $code`
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dbus-run-session", "--config-file="+config, "--", "/bin/sh", "-c", script, executable)
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+filepath.Join(home, "data"), "XDG_RUNTIME_DIR="+filepath.Join(home, "run"),
		"XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home,
		"POSTSEAL_KEYRING_TASK="+task, "POSTSEAL_KEYRING_STORE="+filepath.Join(home, "store", "store.db"))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %s", err, out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

const busConfig = `<busconfig>
<type>session</type>
<listen>unix:tmpdir=/tmp</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
`

// A store is made in one session of a desktop and read in another one, with GNOME
// Keyring as the keyring.
func TestGNOMEKeyring(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"data", "run"} {
		if err := os.Mkdir(filepath.Join(home, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, task := range []string{taskMake, taskRead, taskRead} {
		if code, out := session(t, home, task, true); code != 0 {
			t.Fatalf("%s: exit code %d: %s", task, code, out)
		}
	}
	if code, out := session(t, home, taskRead, false); code != exitUnavailable {
		t.Errorf("without a keyring: exit code %d: %s", code, out)
	}
	keyrings, err := filepath.Glob(filepath.Join(home, "data", "keyrings", "*.keyring"))
	if err != nil || len(keyrings) == 0 {
		t.Fatalf("GNOME Keyring has written %q, %v", keyrings, err)
	}
	for _, name := range keyrings {
		if err = os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if code, out := session(t, home, taskRead, true); code != exitNotFound {
		t.Errorf("with an empty keyring: exit code %d: %s", code, out)
	}
}

func open(t *testing.T, path string, key store.Wrapper) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path, store.Options{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := s.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	return s
}

func readKey(t *testing.T, s *store.Store) error {
	t.Helper()
	ids, err := s.Identities(t.Context(), "")
	if err != nil || len(ids) != 1 {
		t.Fatal(len(ids), err)
	}
	_, err = s.PrivateIdentity(t.Context(), ids[0].Fingerprint)
	return err
}

func TestKeyring(t *testing.T) {
	keyring.MockInit()
	path := filepath.Join(t.TempDir(), "new", "store.db")
	if err := addIdentity(t.Context(), open(t, path, &Keyring{})); err != nil {
		t.Fatal(err)
	}
	if err := readKey(t, open(t, path, &Keyring{})); err != nil {
		t.Error(err)
	}
	// A passphrase does not open it, before it is changed to one.
	passphrase := &store.Passphrase{Ask: func(string) ([]byte, error) { return []byte("secret"), nil }, Time: 1, Memory: 64, Threads: 1}
	if err := readKey(t, open(t, path, passphrase)); !errors.Is(err, store.ErrWrapper) {
		t.Errorf("a passphrase: %v", err)
	}
	if err := open(t, path, &Keyring{}).ChangeKey(t.Context(), passphrase); err != nil {
		t.Fatal(err)
	}
	if err := readKey(t, open(t, path, passphrase)); err != nil {
		t.Error(err)
	}
	if err := readKey(t, open(t, path, &Keyring{})); !errors.Is(err, store.ErrWrapper) {
		t.Errorf("the keyring after the change: %v", err)
	}
	if err := open(t, path, passphrase).ChangeKey(t.Context(), &Keyring{}); err != nil {
		t.Fatal(err)
	}
	if err := readKey(t, open(t, path, &Keyring{})); err != nil {
		t.Error(err)
	}
	keyring.MockInit() // and all is forgotten
	err := readKey(t, open(t, path, &Keyring{}))
	var storeErr *store.Error
	if !errors.Is(err, ErrNotFound) || !errors.As(err, &storeErr) || storeErr.Path != path {
		t.Errorf("an empty keyring: %v", err)
	}
}

func TestWrapUnwrap(t *testing.T) {
	keyring.MockInit()
	k, key := &Keyring{}, make([]byte, 32)
	_, _ = rand.Read(key)
	data, err := k.Wrap(t.Context(), "/home/alice/store.db", key)
	if err != nil {
		t.Fatal(err)
	}
	again, err := k.Wrap(t.Context(), "/home/alice/store.db", key)
	if err != nil || string(again) == string(data) {
		t.Errorf("twice the same, or %v", err)
	}
	if strings.Contains(string(data), base64.StdEncoding.EncodeToString(key)) {
		t.Error("the data key is in it")
	}
	// A store that was moved is opened all the same.
	for _, d := range [][]byte{data, again} {
		if got, unwrapErr := k.Unwrap(t.Context(), "/mnt/store.db", d); unwrapErr != nil || string(got) != string(key) {
			t.Errorf("%x, %v", got, unwrapErr)
		}
	}
	for _, bad := range []string{"", "null", "{}", `{"user":""}`, "[]", `{"user":"x","key":"%"}`} {
		if _, err = k.Unwrap(t.Context(), "s", []byte(bad)); !errors.As(err, new(*keystore.SyntaxError)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{`{"user":"x"}`, strings.Replace(string(data), `"key":"`, `"key":"AAAA`, 1)} {
		if _, err = k.Unwrap(t.Context(), "s", []byte(bad)); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = k.Unwrap(cancelled, "s", data); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	broken := errors.New("no session")
	keyring.MockInitWithError(broken)
	_, wrapErr := k.Wrap(t.Context(), "s", key)
	_, unwrapErr := k.Unwrap(t.Context(), "s", data)
	for _, err := range []error{wrapErr, unwrapErr} {
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, broken) {
			t.Errorf("without a keyring: %v", err)
		}
	}
}

// A keyring that asks the user, who does not answer, is not waited for.
func TestNoAnswer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	answered := make(chan struct{})
	defer close(answered)
	_, err := ask(ctx, func() (string, error) {
		<-answered
		return "", nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
