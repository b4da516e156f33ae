package ber

// maxHeader is the longest header that is read: five identifier octets and
// nine length octets.
const maxHeader = 16

// headerErr is why parseHeader refuses; "" is none, short asks for more input.
type headerErr string

const short headerErr = "the input ends within a header"

// parseHeader reads a header from the start of p and returns its size.
func parseHeader(p []byte) (h Header, n int, err headerErr) {
	if len(p) < 2 {
		return h, 0, short
	}
	class := Tag(p[0]>>6) << classShift
	h.Constructed = p[0]&0x20 != 0
	number := uint32(p[0] & 0x1f)
	n = 1
	if number == 0x1f { // X.690, Section 8.1.2.4
		number = 0
		for {
			if n == len(p) {
				return h, 0, short
			}
			c := p[n]
			n++
			if number > maxNumber>>7 || (number == 0 && c == 0x80) {
				return h, 0, "a tag number is too large or padded"
			}
			number = number<<7 | uint32(c&0x7f)
			if c&0x80 == 0 {
				break
			}
		}
		if number < 0x1f { // X.690, Section 8.1.2.2
			return h, 0, "a tag number is too large or padded"
		}
	}
	h.Tag = class | Tag(number)
	if n == len(p) {
		return h, 0, short
	}
	first := p[n]
	n++
	switch {
	case first < 0x80:
		h.Length = int64(first)
	case first == 0x80: // X.690, Section 8.1.3.6
		if !h.Constructed {
			return h, 0, "a primitive element has an indefinite length"
		}
		h.Length = Indefinite
	default:
		h.Length, n, err = longLength(p, n, int(first&0x7f))
		if err != "" {
			return h, 0, err
		}
	}
	if h.Tag == EndOfContents && (h.Constructed || first != 0) { // X.690, Section 8.1.5
		return h, 0, "end-of-contents octets are not empty"
	}
	return h, n, ""
}

// longLength reads count length octets from p[n:]. Leading zeros are legal in
// BER (X.690, Section 8.1.3.5, note 2).
func longLength(p []byte, n, count int) (int64, int, headerErr) {
	if count > maxHeader-6 {
		return 0, 0, "a length has too many octets"
	}
	var length int64
	for ; count > 0; count-- {
		if n == len(p) {
			return 0, 0, short
		}
		if length >= 1<<54 {
			return 0, 0, "a length is too large"
		}
		length = length<<8 | int64(p[n])
		n++
	}
	return length, n, ""
}

// HeaderLen returns the number of octets of the header that AppendHeader
// writes.
func HeaderLen(tag Tag, length int64) int {
	n := 2
	if num := tag.number(); num >= 0x1f {
		for ; num > 0; num >>= 7 {
			n++
		}
	}
	if length >= 0x80 {
		for ; length > 0; length >>= 8 {
			n++
		}
	}
	return n
}

// AppendHeader appends identifier and length octets, in the shortest form.
// Length may be Indefinite.
func AppendHeader(dst []byte, tag Tag, constructed bool, length int64) []byte {
	first := tag.class() << 6
	if constructed {
		first |= 0x20
	}
	if num := tag.number(); num < 0x1f {
		dst = append(dst, first|byte(num))
	} else {
		dst = append(dst, first|0x1f)
		shift := 0
		for num>>(shift+7) > 0 {
			shift += 7
		}
		for ; shift > 0; shift -= 7 {
			dst = append(dst, byte(num>>shift)|0x80)
		}
		dst = append(dst, byte(num)&0x7f)
	}
	switch {
	case length == Indefinite:
		return append(dst, 0x80)
	case length < 0x80:
		return append(dst, byte(length))
	}
	count := 1
	for length>>(8*count) > 0 {
		count++
	}
	dst = append(dst, 0x80|byte(count))
	for count--; count >= 0; count-- {
		dst = append(dst, byte(length>>(8*count)))
	}
	return dst
}
