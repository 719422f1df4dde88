// Package aws is the front door that SQS and SNS clients speak to: it checks
// Signature Version 4, reads the two wire protocols (AWS JSON 1.0, and Query with
// XML answers), and calls one table of typed operations.
//
// A request passes through these steps, and a later one never sees what an
// earlier one refused:
//
//  1. the request is measured and read (bounded, uncompressed);
//  2. the signature is verified (sigv4.go), which yields the caller's namespace:
//     nothing else does, no URL, ARN or Host header. Only the links in SNS messages
//     come without one; what they may do, the token or the ARN in them says;
//  3. the protocol names the operation (protocol.go, json.go, query.go);
//  4. the table (operation.go, sqs_ops.go, sns_ops.go) says which permission it needs;
//  5. the input is decoded and checked, the operation runs, its output or its
//     error is rendered in the words of the caller's protocol (errors.go).
//
// Operations know nothing of protocols. Their inputs and outputs are plain
// structs whose field names are the names on the wire; see shape.go for the tags.
// What they do is in packages queue and topic. Each service has its own words for
// what goes wrong (sqs_errors.go, sns_errors.go).
package aws
