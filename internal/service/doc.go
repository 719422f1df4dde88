// Package service holds what every long-running part of the process shares and
// nothing of the product: the Start and Stop contract, health and readiness,
// metrics, build information, certificates that follow their files, and an HTTP
// server with limits.
//
// Every part of OpenMNQ has the same life: New validates, Start returns when the
// part is ready, Stop returns when it is quiet and may be called twice. [StartAll]
// and [Group.StopAll] run a list of parts in order and back.
package service
