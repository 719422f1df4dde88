package service

// PublicError is an error whose text may be shown to anybody who asks for /readyz.
type PublicError string

// Error is the text.
func (e PublicError) Error() string { return string(e) }
