// Package console is the web console: HTML pages for people, below /console/.
//
// It has no API of its own. Whatever a page shows or does is a call of the control
// plane, which the console makes in the same process, as the API key or user who has
// signed in: so permissions, limits, error messages and the audit log are the ones of
// the API, and there is nothing that only the console can do. A page shows the command
// line that does the same.
//
// Pages are complete without JavaScript. With it they refresh themselves (htmx), draw
// charts (uPlot) and follow queues. Everything is embedded; a strict
// Content-Security-Policy allows nothing from elsewhere and nothing inline.
package console
