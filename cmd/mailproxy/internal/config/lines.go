package config

import (
	"fmt"
	"strings"
)

// lines tells in which line of a file each key stands: "server.name", and
// "listener[1].upstream.host" for those in arrays of tables. Tables are there
// under their own names. The file is one that was parsed already; what is not
// understood, such as a dotted key with quotes, is left out.
func lines(text string) map[string]int {
	out := make(map[string]int)
	count := make(map[string]int)
	table, depth, quote := "", 0, ""
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		if depth == 0 && quote == "" && trimmed != "" && trimmed[0] != '#' {
			if trimmed[0] == '[' {
				table = header(trimmed, count)
				out[table] = i + 1
				continue
			}
			if key, _, ok := strings.Cut(trimmed, "="); ok {
				name := bare(key)
				if table != "" {
					name = table + "." + name
				}
				out[name] = i + 1
			}
		}
		depth, quote = skip(line, depth, quote)
	}
	return out
}

// header returns the name of a table with the numbers of those it is in.
func header(line string, count map[string]int) string {
	array := strings.HasPrefix(line, "[[")
	name, _, _ := strings.Cut(strings.Trim(line, "["), "]")
	parts := strings.Split(name, ".")
	path := ""
	for i, part := range parts {
		if path != "" {
			path += "."
		}
		path += bare(part)
		if array && i == len(parts)-1 {
			count[path]++
		}
		if n := count[path]; n > 0 {
			path = fmt.Sprintf("%s[%d]", path, n-1)
		}
	}
	return path
}

// bare returns a key without spaces and quotes.
func bare(key string) string {
	parts := strings.Split(key, ".")
	for i, part := range parts {
		parts[i] = strings.Trim(strings.TrimSpace(part), `"'`)
	}
	return strings.Join(parts, ".")
}

// skip follows brackets and strings through a line: depth is how many brackets
// are open, and quote is what closes the string that goes on in the next line.
func skip(line string, depth int, quote string) (int, string) {
	for i := 0; i < len(line); {
		rest := line[i:]
		switch {
		case quote != "" && strings.HasPrefix(rest, quote):
			i += len(quote)
			quote = ""
		case quote != "" && quote[0] == '"' && rest[0] == '\\':
			i += 2
		case quote != "":
			i++
		case rest[0] == '#':
			return depth, ""
		case strings.HasPrefix(rest, `"""`), strings.HasPrefix(rest, "'''"):
			quote = rest[:3]
			i += 3
		case rest[0] == '"' || rest[0] == '\'':
			quote = rest[:1]
			i++
		default:
			switch rest[0] {
			case '[', '{':
				depth++
			case ']', '}':
				depth--
			}
			i++
		}
	}
	if len(quote) == 1 {
		quote = ""
	}
	return max(depth, 0), quote
}
