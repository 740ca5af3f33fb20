import Tensor

/// Which of a file's examples are kept back for evaluation: a random choice that the seed fixes and
/// nothing remembers.
///
/// Both parts are numbered from 0. Train on `training(order[p])`, where `order` is a
/// `ShuffledOrder` of `trainingCount`.
///
/// Threads: immutable, shareable.
package struct DataSplit: Sendable {
  /// How many examples are for evaluation.
  package let evaluationCount: Int

  /// How many are for training.
  package var trainingCount: Int { order.count - evaluationCount }

  /// Its first positions are for evaluation. An epoch that no run reaches.
  private let order: ShuffledOrder

  /// Keeps back `fraction` of `count` examples, rounded to whole ones: none if it is 0, else at
  /// least one, and never all. Of one example none is kept back.
  ///
  /// Throws `.invalidArgument` unless `fraction` is at least 0 and below 1, and `count` not
  /// negative.
  package init(count: Int, fraction: Double, seed: UInt64) throws(IVGError) {
    guard count >= 0 else { throw IVGError(.invalidArgument, "\(count) examples cannot be") }
    guard fraction >= 0, fraction < 1 else {
      throw IVGError(
        .invalidArgument,
        "the fraction kept back for evaluation is \(fraction); it must be at least 0 and below 1")
    }
    let wanted = Int((Double(count) * fraction).rounded())
    evaluationCount = fraction > 0 && count > 1 ? min(max(wanted, 1), count - 1) : 0
    order = ShuffledOrder(count: count, seed: seed, epoch: .max)
  }

  /// The example that is number `index` of those for evaluation, in 0 ..< `evaluationCount`.
  package func evaluation(_ index: Int) -> Int {
    precondition(index < evaluationCount, "no such example")
    return order[index]
  }

  /// The example that is number `index` of those for training, in 0 ..< `trainingCount`.
  package func training(_ index: Int) -> Int {
    precondition(index >= 0 && index < trainingCount, "no such example")
    return order[evaluationCount + index]
  }

  /// Whether `example` is kept back.
  package func isEvaluation(_ example: Int) -> Bool {
    order.position(of: example) < evaluationCount
  }
}
