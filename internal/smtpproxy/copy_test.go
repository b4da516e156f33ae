package smtpproxy

import (
	"context"
	"reflect"
	"testing"
)

// forgetful is an outgoing.Memory.
type forgetful struct{}

func (forgetful) CameEncrypted(context.Context, string, []string) (bool, error) { return false, nil }

// TestCopy misses no field.
func TestCopy(t *testing.T) {
	p := &Proxy{}
	fill(reflect.ValueOf(p).Elem(), reflect.ValueOf(forgetful{}))
	n := 0
	for f, v := range reflect.ValueOf(p.Copy()).Elem().Fields() {
		if f.IsExported() && v.IsZero() {
			t.Errorf("%s is not copied", f.Name)
		}
		n++
	}
	if n < 10 {
		t.Errorf("%d fields", n)
	}
	server, _ := tlsConfigs(t)
	p = &Proxy{TLS: server}
	q := p.Copy()
	if q.prepare(); q.toTLS == nil || q.problem != nil || q.toTLS != p.toTLS {
		t.Error("the keys of TLS sessions are not shared")
	}
	q = p.Copy()
	q.TLS = server.Clone()
	if q.prepare(); q.toTLS == nil || q.problem != nil || q.toTLS == p.toTLS {
		t.Error("the configuration of TLS is another's")
	}
}

// fill gives all exported fields of a structure a value. any is for interfaces.
func fill(v reflect.Value, any reflect.Value) {
	for f, field := range v.Fields() {
		if !f.IsExported() {
			continue
		}
		switch field.Kind() {
		case reflect.String:
			field.SetString("x")
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Func:
			field.Set(reflect.MakeFunc(field.Type(), func([]reflect.Value) []reflect.Value { return nil }))
		case reflect.Pointer:
			field.Set(reflect.New(field.Type().Elem()))
		case reflect.Interface:
			field.Set(any)
		case reflect.Struct:
			fill(field, any)
		default:
			field.Set(reflect.ValueOf(1).Convert(field.Type()))
		}
	}
}
