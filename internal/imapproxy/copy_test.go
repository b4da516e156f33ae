package imapproxy

import (
	"reflect"
	"testing"

	"github.com/postseal/postseal/internal/facts"
)

// TestCopy misses no field.
func TestCopy(t *testing.T) {
	p := &Proxy{}
	fill(reflect.ValueOf(p).Elem(), reflect.ValueOf(facts.NewMemory()))
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
	if q := p.Copy().Copy(); q.base != p {
		t.Error("the cache of a copy's copy is another one")
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
