package peers

import (
	"context"
	"os"
	"testing"
)

// Start finds peers for a test and closes them when the test ends. Peers that
// are not installed are named in the log; with CI=true in the environment they
// fail the test, since there all of them must be. If there are none at all the
// test is skipped.
func Start(tb testing.TB, env *Env) []Peer {
	tb.Helper()
	// The context of the test is cancelled before the peers are closed, which
	// would kill instead of close them.
	found, missing, err := Find(context.Background(), env)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if closeErr := Close(found); closeErr != nil {
			tb.Error(closeErr)
		}
	})
	for _, p := range found {
		tb.Logf("%s: %s", p.Name(), p.Version())
	}
	for _, what := range missing {
		if os.Getenv("CI") == "true" {
			tb.Errorf("missing: %s", what)
		} else {
			tb.Logf("missing: %s", what)
		}
	}
	if len(found) == 0 {
		tb.Skip("no other implementation is installed")
	}
	return found
}
