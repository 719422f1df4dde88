package topic

// decimal is a number exactly as it is written, whatever its size: comparing never
// rounds. The zero value is 0.
type decimal struct {
	neg   bool
	point int32 // the number is 0.d₁d₂d₃… × 10^point, and d₁ is not 0
	a, b  string
}

// maxExponent bounds exponents, and with them the numbers that are told apart.
const maxExponent = 1_000_000

// parseDecimal reads digits with an optional sign, fraction and exponent.
func parseDecimal(text string) (decimal, bool) {
	var d decimal
	i := 0
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		d.neg = text[i] == '-'
		i++
	}
	whole := digitsOf(text[i:])
	i += len(whole)
	fraction := ""
	if i < len(text) && text[i] == '.' {
		fraction = digitsOf(text[i+1:])
		i += 1 + len(fraction)
	}
	if whole == "" && fraction == "" {
		return decimal{}, false
	}
	exponent, ok := parseExponent(text[i:])
	if !ok {
		return decimal{}, false
	}
	d.a = trimZeros(whole)
	d.b = fraction
	point := len(d.a)
	if d.a == "" {
		d.b = trimZeros(fraction)
		point = len(d.b) - len(fraction)
	}
	if d.a == "" && d.b == "" {
		return decimal{}, true
	}
	d.point = int32(min(max(point, -maxExponent), maxExponent)) + exponent
	return d, true
}

func parseExponent(text string) (int32, bool) {
	if text == "" {
		return 0, true
	}
	if text[0]|0x20 != 'e' {
		return 0, false
	}
	text = text[1:]
	neg := text != "" && text[0] == '-'
	if text != "" && (text[0] == '-' || text[0] == '+') {
		text = text[1:]
	}
	if text == "" || digitsOf(text) != text {
		return 0, false
	}
	n := int32(0)
	for _, c := range []byte(text) {
		n = min(n*10+int32(c-'0'), maxExponent)
	}
	if neg {
		n = -n
	}
	return n, true
}

func digitsOf(text string) string {
	i := 0
	for i < len(text) && isDigit(text[i]) {
		i++
	}
	return text[:i]
}

func trimZeros(digits string) string {
	for digits != "" && digits[0] == '0' {
		digits = digits[1:]
	}
	return digits
}

func (d *decimal) sign() int {
	switch {
	case d.a == "" && d.b == "":
		return 0
	case d.neg:
		return -1
	}
	return 1
}

// digit is the i-th digit from the front; behind the last one come zeros.
func (d *decimal) digit(i int) byte {
	if i < len(d.a) {
		return d.a[i]
	}
	if i -= len(d.a); i < len(d.b) {
		return d.b[i]
	}
	return '0'
}

// compare is -1, 0 or 1 as d is less than, equal to or greater than e.
func (d *decimal) compare(e *decimal) int {
	sign := d.sign()
	if other := e.sign(); sign != other {
		if sign < other {
			return -1
		}
		return 1
	}
	switch {
	case sign == 0:
		return 0
	case d.point != e.point:
		if d.point < e.point {
			return -sign
		}
		return sign
	}
	for i := range max(len(d.a)+len(d.b), len(e.a)+len(e.b)) {
		if x, y := d.digit(i), e.digit(i); x < y {
			return -sign
		} else if x > y {
			return sign
		}
	}
	return 0
}
