import Tensor
import Transformer

extension Trainer {
  /// The whole evaluation split, as training has made the numbers so far. Throws `.cancelled`, `.io`,
  /// `.mismatch`; nothing has changed then.
  func evaluate() throws(IVGError) -> TrainerReport {
    var figures = Figures()
    var terms = 0
    var pending: [TrainingExample] = []
    var tokens = 0
    for index in 0..<evaluationCount {
      let example = try evaluationExample(index)
      if !pending.isEmpty, tokens + example.tokenCount > plan.rows {
        try evaluate(&pending, &figures)
        tokens = 0
      }
      pending.append(example)
      tokens += example.tokenCount
      terms += objective.terms(example)
    }
    try evaluate(&pending, &figures)
    figures.loss /= Double(max(1, terms))
    judge(figures.loss)
    evaluationIsDue = false
    if step == stepCount || hasEnded { noteChange() }
    var report = TrainerReport(.evaluate)
    figures.fill(&report)
    report.done = evaluationCount
    report.total = evaluationCount
    return report
  }

  private func evaluate(_ pending: inout [TrainingExample], _ figures: inout Figures)
    throws(IVGError)
  {
    for batch in MicroBatch.divide(pending, rows: plan.rows, options: options) {
      let measures = objective.expectation != nil && head == nil
      if measures { try keepStart(batch) }
      var part = try objective.compute(
        batch, weight: 1, reference: reference(_:), derives: false)
      if measures { try objective.addDivergence(batch, &part) }
      figures.add(part)
    }
    pending.removeAll(keepingCapacity: true)
  }

  /// The hidden states of the model that training started from.
  private func keepStart(_ batch: MicroBatch) throws(IVGError) {
    guard let startValues else {
      return try objective.keepFinals(batch, usesAdapter: false)
    }
    vector.exchangeValues(startValues)
    defer { vector.exchangeValues(startValues) }
    try objective.keepFinals(batch, usesAdapter: true)
  }

  /// Remembers the best numbers, and ends the run when they have not become better for long enough.
  private func judge(_ loss: Double) {
    guard let patience = options.patience, let bestValues else { return }
    if loss < bestLoss {
      bestLoss = loss
      worseEvaluations = 0
      bestValues.pointer.update(from: vector.values.pointer, count: vector.count)
    } else {
      worseEvaluations += 1
      if worseEvaluations >= patience { hasEnded = true }
    }
  }
}
