import Tensor
import Transformer

/// What is computed once before training: log-probabilities of preferences under the model they start from,
/// hidden states for a head alone.
extension Trainer {
  /// Examples that need it: those of the data, then those of the evaluation file.
  var prepareCount: Int {
    guard options.objective == .preference || objective.states != nil else { return 0 }
    return data.count + (evaluationData?.count ?? 0)
  }

  /// The next micro-batch. Throws `.cancelled`, `.io`, `.mismatch`.
  func prepare() throws(IVGError) -> TrainerReport {
    var examples: [TrainingExample] = []
    var tokens = 0
    while preparedCount + examples.count < prepareCount {
      let number = preparedCount + examples.count
      let example =
        number < data.count
        ? try data.example(number) : try evaluationData!.example(number - data.count)
      guard examples.isEmpty || tokens + example.tokenCount <= plan.rows else { break }
      tokens += example.tokenCount
      examples.append(example)
    }
    let batch = MicroBatch.divide(examples, rows: plan.rows, options: objective.options)[0]
    if let states = objective.states {
      try states.prepare(batch, cancel: cancelFlag)
    } else {
      try keepReference(batch)
    }
    preparedCount += examples.count
    if preparedCount == prepareCount, objective.states == nil { noteChange() }
    var report = TrainerReport(.prepare)
    report.done = preparedCount
    report.total = prepareCount
    report.tokenCount = tokens
    return report
  }

  private func keepReference(_ batch: MicroBatch) throws(IVGError) {
    for (example, sums) in zip(batch.examples, try objective.logProbabilities(batch)) {
      if example.isEvaluation {
        evaluationReference += sums
      } else {
        reference += sums
      }
    }
  }
}
