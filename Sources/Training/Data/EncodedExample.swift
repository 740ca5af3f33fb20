/// An example as tokens.
package enum EncodedExample: Equatable, Sendable {
  /// One completion and its reward, if it has one.
  case completion(EncodedSequence, reward: Double?)
  /// Two completions of a prompt, the better one first.
  case preference(chosen: EncodedSequence, rejected: EncodedSequence)
  /// Nothing that could be learned is left; the reason is for a person.
  case skipped(reason: String)
}
