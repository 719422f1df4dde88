// Package mnq is the language of OpenMNQ: the nouns that every other package
// speaks (projects, namespaces, credentials, permissions, quotas, ARNs), the
// limits, and the one error type that each front door renders in its own words.
//
// It does no I/O and imports only the standard library. Everything here is a
// value; nothing is cached, opened or started.
package mnq
