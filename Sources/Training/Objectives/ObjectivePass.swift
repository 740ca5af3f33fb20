import Tensor
import Transformer

/// Computes an objective for micro-batches: its figures, and the gradients of what is trained.
package final class ObjectivePass {
  let options: TrainerOptions
  let trunk: Trunk
  /// nil for a head on kept hidden states.
  let pass: TrainingPass?
  let head: TrainableHead?
  /// Kept hidden states, for a head alone.
  let states: HiddenStates?
  let expectation: Expectation?
  let cancel: CancelFlag
  private var kept: AlignedBuffer<Float>?  // [wanted, hidden]

  package init(
    options: TrainerOptions, trunk: Trunk, pass: TrainingPass?, head: TrainableHead?,
    states: HiddenStates? = nil, expectation: Expectation? = nil, cancel: CancelFlag
  ) {
    self.options = options
    self.trunk = trunk
    self.pass = pass
    self.head = head
    self.states = states
    self.expectation = expectation
    self.cancel = cancel
  }

  /// Terms of a loss that is a mean, in one example.
  package func terms(_ example: TrainingExample) -> Int {
    switch options.objective {
    case .preference, .reward: 1
    case .supervised, .value:
      example.sequences.reduce(0) { $0 + Places.range($1, options).count }
    }
  }

  /// The figures of a micro-batch. `weight`: of each term of the loss. `reference`: log-probabilities of
  /// preferences' sequences before training. With `derives` gradients are added up.
  ///
  /// Throws `.cancelled`; `.io` if kept states cannot be read.
  package func compute(
    _ batch: MicroBatch, weight: Double, reference: (TrainingExample) -> [Double] = { _ in [] },
    derives: Bool
  ) throws(IVGError) -> Figures {
    try lookAtCancel()
    var figures = Figures()
    figures.tokenCount = batch.packed.count
    switch options.objective {
    case .supervised:
      try addSupervised(batch, weight, derives, &figures)
    case .preference:
      try addPreference(batch, weight, reference, derives, &figures)
    case .reward:
      try addReward(batch, weight, derives, &figures)
    case .value:
      try addValue(batch, weight, derives, &figures)
    }
    if derives, let pass { try pass.backward(cancel: cancel) }
    return figures
  }

  /// The summed log-probabilities of every sequence.
  package func logProbabilities(_ batch: MicroBatch) throws(IVGError) -> [[Double]] {
    try sums(batch, derives: false)
  }

  private func lookAtCancel() throws(IVGError) {
    if cancel.isRaised { throw IVGError(.cancelled, "cancelled") }
  }

  // MARK: Log-probabilities

  private func sums(_ batch: MicroBatch, derives: Bool) throws(IVGError) -> [[Double]] {
    let pass = pass!
    try pass.forward(
      batch.packed, wanted: batch.wanted, dropout: derives ? options.dropout : 0, cancel: cancel)
    let values = try pass.logProbabilities(of: batch.targets, derives: derives, cancel: cancel)
    return batch.spans.map { $0.map { values[$0].reduce(0, +) } }
  }

  /// Scales the derivatives of some wanted rows' log-probabilities to those of the loss.
  private func scaleDirections(_ span: Range<Int>, _ factor: Double) {
    let size = trunk.configuration.hiddenSize
    let factor = Float(factor)
    let directions = pass!.directions
    for index in span.lowerBound * size..<span.upperBound * size { directions[index] *= factor }
  }

  private func addSupervised(
    _ batch: MicroBatch, _ weight: Double, _ derives: Bool, _ figures: inout Figures
  ) throws(IVGError) {
    for sums in try sums(batch, derives: derives) {
      for sum in sums { figures.loss -= weight * sum }
    }
    if derives { scaleDirections(0..<batch.wanted.count, -weight) }
  }

  private func addPreference(
    _ batch: MicroBatch, _ weight: Double, _ reference: (TrainingExample) -> [Double],
    _ derives: Bool, _ figures: inout Figures
  ) throws(IVGError) {
    let all = try sums(batch, derives: derives)
    let beta = Double(options.beta)
    for (index, example) in batch.examples.enumerated() {
      let before = reference(example)
      let spans = batch.spans[index]
      let ratios = zip(all[index], before).map { $0 - $1 }
      figures.addPair(chosen: beta * ratios[0], rejected: beta * ratios[1])
      // d = factor[0] · ratio of chosen − factor[1] · ratio of rejected
      let isMean = options.loss == .identity
      let factors = spans.map { isMean ? 1 / Double($0.count) : beta }
      let distance = factors[0] * ratios[0] - factors[1] * ratios[1]
      let smoothing = Double(options.labelSmoothing)
      let pair =
        switch options.loss {
        case .identity: PairLoss.identity(distance, beta)
        case .robust: PairLoss.robust(distance, smoothing)
        default: PairLoss.smoothed(distance, smoothing)
        }
      figures.loss += weight * pair.loss
      guard derives else { continue }
      scaleDirections(spans[0], weight * pair.slope * factors[0])
      scaleDirections(spans[1], -weight * pair.slope * factors[1])
    }
  }

  // MARK: Heads

  /// Final hidden states of the wanted rows: [wanted, hidden].
  private func finals(_ batch: MicroBatch, derives: Bool) throws(IVGError)
    -> UnsafePointer<Float>
  {
    if let states { return try states.finals(batch.examples.map(\.key)) }
    try pass!.forward(
      batch.packed, wanted: batch.wanted, dropout: derives ? options.dropout : 0, cancel: cancel)
    return pass!.finals
  }

  private func addReward(
    _ batch: MicroBatch, _ weight: Double, _ derives: Bool, _ figures: inout Figures
  ) throws(IVGError) {
    let finals = try finals(batch, derives: derives)
    for spans in batch.spans {
      try lookAtCancel()
      let rows = spans.map(\.lowerBound)
      let rewards = rows.map { value(finals, $0, batch) }
      figures.addPair(chosen: rewards[0], rejected: rewards[1])
      let pair = PairLoss.logistic(rewards[0] - rewards[1])
      figures.loss += weight * pair.loss
      guard derives else { continue }
      differentiate(finals, rows[0], batch, weight * pair.slope)
      differentiate(finals, rows[1], batch, -weight * pair.slope)
    }
  }

  private func addValue(
    _ batch: MicroBatch, _ weight: Double, _ derives: Bool, _ figures: inout Figures
  ) throws(IVGError) {
    // The expectation under the trunk comes first: its pass is another.
    let hasBase = options.loss == .expectation ? try keepBase(batch) : false
    let finals = try finals(batch, derives: derives)
    let expected = hasBase ? try expectedValues(finals, batch) : nil
    for (index, example) in batch.examples.enumerated() {
      try lookAtCancel()
      for span in batch.spans[index] {
        for row in span {
          let value = value(finals, row, batch)
          let isLast = row == span.upperBound - 1
          var target = example.reward
          if options.loss == .expectation, !isLast {
            // v_t = Σ_z π(z | x, y_≤t) V(x, y_≤t ⊕ z); for a scalar head z is the token that followed.
            target = expected?[row + 1] ?? self.value(finals, row + 1, batch)
          }
          let slope = addTerm(value, target, weight, &figures)
          if derives { differentiate(finals, row, batch, slope) }
          if isLast {
            figures.values.append(value)
            figures.rewards.append(example.reward)
          }
        }
      }
    }
  }

  /// One prefix's loss, and its derivative by the value.
  private func addTerm(
    _ value: Double, _ target: Double, _ weight: Double, _ figures: inout Figures
  ) -> Double {
    if options.loss == .classification {
      // −r log σ(v) − (1 − r) log σ(−v)
      figures.loss += weight * (PairLoss.softplus(value) - target * value)
      return weight * (PairLoss.sigmoid(value) - target)
    }
    // ½ (v − r)²: FUDGE with a regression, CD-FUDGE eq. 4; CD-Q eq. 5
    figures.loss += weight * 0.5 * (value - target) * (value - target)
    return weight * (value - target)
  }

  private func value(_ finals: UnsafePointer<Float>, _ row: Int, _ batch: MicroBatch) -> Double {
    head!.value(finals + row * trunk.configuration.hiddenSize, token: batch.targets[row])
  }

  private func differentiate(
    _ finals: UnsafePointer<Float>, _ row: Int, _ batch: MicroBatch, _ slope: Double
  ) {
    let size = trunk.configuration.hiddenSize
    head!.differentiate(
      finals + row * size, token: batch.targets[row], scale: Float(slope),
      direction: pass.map { $0.directions + row * size })
  }

  /// Keeps the trunk's own hidden states, whose logits are the distribution of the next token. Only a
  /// vocabulary head asks for them; false for another.
  private func keepBase(_ batch: MicroBatch) throws(IVGError) -> Bool {
    guard head!.kind == .vocabulary else { return false }
    if let states {
      try keep(try states.finals(batch.examples.map(\.key)), batch)
    } else {
      try keepFinals(batch, usesAdapter: false)
    }
    return true
  }

  // MARK: Kept hidden states

  /// Keeps the final hidden states of a micro-batch, with the adapter or without it.
  func keepFinals(_ batch: MicroBatch, usesAdapter: Bool) throws(IVGError) {
    try pass!.forward(
      batch.packed, wanted: batch.wanted, usesAdapter: usesAdapter, cancel: cancel)
    try keep(pass!.finals, batch)
  }

  private func keep(_ finals: UnsafePointer<Float>, _ batch: MicroBatch) throws(IVGError) {
    let count = batch.wanted.count * trunk.configuration.hiddenSize
    if kept.map({ $0.count < count }) ?? true { kept = try AlignedBuffer(count: count) }
    kept!.pointer.update(from: finals, count: count)
  }

  /// For each wanted row, what the head's outputs are expected to be under the kept states' distribution.
  private func expectedValues(_ finals: UnsafePointer<Float>, _ batch: MicroBatch)
    throws(IVGError) -> [Double]
  {
    try expectation!.compute(
      trunk.output, kept!.pointer, head!.matrix(), finals, count: batch.wanted.count
    ).map(\.mean)
  }

  /// KL(now ‖ kept) of the next token, added over the wanted rows that `compute` has just computed.
  func addDivergence(_ batch: MicroBatch, _ figures: inout Figures) throws(IVGError) {
    let results = try expectation!.compute(
      trunk.output, pass!.finals, trunk.output, kept!.pointer, count: batch.wanted.count)
    for result in results { figures.divergence += result.divergence }
    figures.divergenceCount += results.count
  }
}
