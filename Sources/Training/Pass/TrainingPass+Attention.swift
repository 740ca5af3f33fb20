import CIVGKernels
import Tensor
import Transformer

/// Attention within each sequence. The unit of work is one sequence and one key/value head: all that it adds
/// up belongs to it alone. Scores are formed for some queries at a time, and formed again on the way back.
extension TrainingPass {
  /// Scratch of a worker.
  private struct Scratch {
    let keys: UnsafeMutablePointer<Float>  // [head size, width] transposed
    let values: UnsafeMutablePointer<Float>  // [head size, width] transposed
    let scores: UnsafeMutablePointer<Float>  // [queryRows, width]
    let derivatives: UnsafeMutablePointer<Float>  // [queryRows, width]
    let width: Int

    init(_ pass: TrainingPass, _ worker: Worker, length: Int) {
      let panel = Int(CIVG_PANEL_COLUMNS)
      width = (length + panel - 1) / panel * panel
      keys = pass.buffers.scratch(worker.index)
      values = keys + pass.configuration.headSize * width
      scores = values + pass.configuration.headSize * width
      derivatives = scores + PassBuffers.queryRows * width
    }
  }

  /// Queries of one head and the tokens that they may attend to.
  private struct Block {
    let head: Int
    /// Rows of the sequence, from its first.
    let queries: Range<Int>
    /// Where its queries begin in a [rows, heads × head size] buffer.
    let place: Int

    init(_ pass: TrainingPass, head: Int, queries: Range<Int>, sequence: Range<Int>) {
      self.head = head
      self.queries = queries
      place =
        (sequence.lowerBound + queries.lowerBound) * pass.configuration.querySize
        + head * pass.configuration.headSize
    }
  }

  /// attended = softmax(q kᵀ / √size) v, causal.
  func attend(_ activations: LayerActivations, _ worker: Worker) {
    let c = configuration
    forEachUnit(worker) { sequence, group in
      let scratch = Scratch(self, worker, length: sequence.count)
      let place = sequence.lowerBound * c.keyValueSize + group * c.headSize
      transpose(activations.key + place, sequence.count, into: scratch.keys, scratch.width)
      forEachBlock(sequence, group) { block in
        formScores(block, activations, scratch)
        multiply(
          scratch.scores, row: scratch.width, step: 1, activations.value + place,
          step: c.keyValueSize, into: activations.attended + block.place, stride: c.querySize,
          rows: block.queries.count, columns: c.headSize, depth: block.queries.upperBound)
      }
    }
  }

  /// dQuery, dKey, dValue from dAttended. With P the probabilities and dP = dA vᵀ:
  /// dS = P (dP − Σ P dP) / √size, dq = dS k, dk = dSᵀ q, dv = Pᵀ dA.
  func attendBackward(_ activations: LayerActivations, _ worker: Worker) {
    let c = configuration
    forEachUnit(worker) { sequence, group in
      let scratch = Scratch(self, worker, length: sequence.count)
      let place = sequence.lowerBound * c.keyValueSize + group * c.headSize
      transpose(activations.key + place, sequence.count, into: scratch.keys, scratch.width)
      transpose(activations.value + place, sequence.count, into: scratch.values, scratch.width)
      var isFirst = true
      forEachBlock(sequence, group) { block in
        if isFirst { clear(place, sequence.count) }
        isFirst = false
        backward(block, place, activations, scratch)
      }
    }
  }

  private func backward(
    _ block: Block, _ place: Int, _ activations: LayerActivations, _ scratch: Scratch
  ) {
    let c = configuration
    let end = block.queries.upperBound
    let count = block.queries.count
    formScores(block, activations, scratch)
    multiply(
      buffers.dAttended + block.place, row: c.querySize, step: 1, scratch.values,
      step: scratch.width, into: scratch.derivatives, stride: scratch.width, rows: count,
      columns: padded(end), depth: c.headSize)
    for (index, query) in block.queries.enumerated() {
      kernels.table.pointee.softmax_backward(
        scratch.scores + index * scratch.width, scratch.derivatives + index * scratch.width,
        query + 1, padded(end), scoreScale)
    }
    multiply(
      scratch.derivatives, row: scratch.width, step: 1, activations.key + place,
      step: c.keyValueSize, into: buffers.dQuery + block.place, stride: c.querySize, rows: count,
      columns: c.headSize, depth: end)
    multiply(
      scratch.derivatives, row: 1, step: scratch.width, activations.query + block.place,
      step: c.querySize, into: buffers.dKey + place, stride: c.keyValueSize, rows: end,
      columns: c.headSize, depth: count, continues: true)
    multiply(
      scratch.scores, row: 1, step: scratch.width, buffers.dAttended + block.place,
      step: c.querySize, into: buffers.dValue + place, stride: c.keyValueSize, rows: end,
      columns: c.headSize, depth: count, continues: true)
  }

  private var scoreScale: Float { 1 / Float(configuration.headSize).squareRoot() }

  private func padded(_ count: Int) -> Int {
    let panel = Int(CIVG_PANEL_COLUMNS)
    return (count + panel - 1) / panel * panel
  }

  /// scores = softmax(q kᵀ / √size) of a block's queries; 0 where they do not attend.
  private func formScores(_ block: Block, _ activations: LayerActivations, _ scratch: Scratch) {
    let c = configuration
    let width = padded(block.queries.upperBound)
    multiply(
      activations.query + block.place, row: c.querySize, step: 1, scratch.keys,
      step: scratch.width, into: scratch.scores, stride: scratch.width,
      rows: block.queries.count, columns: width, depth: c.headSize)
    for (index, query) in block.queries.enumerated() {
      kernels.table.pointee.softmax(
        scratch.scores + index * scratch.width, query + 1, width, scoreScale)
    }
  }

  /// Units are dealt out in turn: a unit's cost is known by its length only.
  private func forEachUnit(_ worker: Worker, _ body: (Range<Int>, Int) -> Void) {
    let groups = configuration.keyValueHeadCount
    var unit = worker.index
    while unit < batch.sequences.count * groups {
      body(batch.sequences[unit / groups], unit % groups)
      unit += worker.count
    }
  }

  private func forEachBlock(_ sequence: Range<Int>, _ group: Int, _ body: (Block) -> Void) {
    let heads = configuration.headGroup
    for head in group * heads..<(group + 1) * heads {
      for first in stride(from: 0, to: sequence.count, by: PassBuffers.queryRows) {
        let queries = first..<min(first + PassBuffers.queryRows, sequence.count)
        body(Block(self, head: head, queries: queries, sequence: sequence))
      }
    }
  }

  private func clear(_ place: Int, _ count: Int) {
    let c = configuration
    for row in 0..<count {
      (buffers.dKey + place + row * c.keyValueSize).update(repeating: 0, count: c.headSize)
      (buffers.dValue + place + row * c.keyValueSize).update(repeating: 0, count: c.headSize)
    }
  }

  /// out [head size, width] = the transpose of one head of `count` rows; the rest of each row is 0.
  private func transpose(
    _ head: UnsafePointer<Float>, _ count: Int, into out: UnsafeMutablePointer<Float>,
    _ width: Int
  ) {
    let c = configuration
    kernels.table.pointee.transpose(head, c.keyValueSize, count, c.headSize, out, width)
  }

  private func multiply(
    _ a: UnsafePointer<Float>, row: Int, step: Int, _ b: UnsafePointer<Float>, step bStep: Int,
    into out: UnsafeMutablePointer<Float>, stride: Int, rows: Int, columns: Int, depth: Int,
    continues: Bool = false
  ) {
    var product = civg_chain(
      a: a, a_row: row, a_step: step, b: b, b_panel: Int(CIVG_PANEL_COLUMNS), b_step: bStep,
      out: out, out_stride: stride, rows: rows, columns: columns, depth: depth,
      continues: continues ? 1 : 0)
    kernels.table.pointee.chain(&product)
  }
}
