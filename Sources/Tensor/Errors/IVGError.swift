/// Everything that can go wrong, in the shape the C boundary reports it: a kind (the status code of
/// `ivg.h`) and a message for a person. Messages name the file, the field and the bound.
package struct IVGError: Error, Equatable, Sendable {
  /// The raw values are the status codes of `ivg.h`; they are pinned for ever.
  package enum Kind: Int32, Sendable {
    case invalidArgument = -1
    case outOfMemory = -2
    case io = -3
    case corruptFile = -4
    case unsupported = -5
    case cancelled = -6
    case contextFull = -7
    case bufferTooSmall = -8
    case mismatch = -9
    case notFound = -10
    case callback = -11
    case `internal` = -99
  }

  package let kind: Kind
  package let message: String

  package init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message = message
  }
}
