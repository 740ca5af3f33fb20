/// What a run of training needs every line of its data to say.
package enum DataLayout: Sendable {
  /// Something to learn to write. A reward is not read; of a preference both answers are learned.
  case completion
  /// A completion and a number that says how good it is.
  case rewarded
  /// Two completions of a prompt, one better than the other.
  case preference
}
