/// A line of data that is left out.
package struct TrainerProblem: Sendable {
  package let isEvaluation: Bool
  /// From 1.
  package let line: Int
  package let reason: String
}
