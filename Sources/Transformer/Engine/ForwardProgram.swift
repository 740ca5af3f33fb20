import CIVGKernels
import Tensor

/// The forward pass of one slice of a batch, run by all workers of a team together.
///
/// Outline: embed; per layer attention and feed-forward, each reading its weights once for all rows;
/// then the outputs that were asked for. Every worker runs the same code; within a phase the work is
/// divided by rows or by tiles of weight rows, between phases is a barrier. Division never changes a
/// result: each element is computed by one worker in one fixed order.
///
/// All buffers are taken at creation; running allocates nothing.
final class ForwardProgram: ParallelProgram {
  let trunk: Trunk
  let configuration: ModelConfiguration
  let sequences: SequenceTable
  let kernels: Kernels
  let buffers: ForwardBuffers

  // The slice at hand, set by `load`.
  var entryCount = 0
  let entries: UnsafeMutablePointer<Entry>  // [batchLimit]
  var adapterRuns: [AdapterRun] = []
  var attentionGroups: [AttentionGroup] = []
  var outputPlan = OutputPlan()
  private let workerCount: Int
  private let clock: StepClock?
  private var cancel: CancelFlag?
  private(set) var isStopped = false

  /// How much of the weights of the next product is asked for during the one before.
  static let aheadBytes = 16 * 1024
  /// Low-rank matrices of more bytes than this are not.
  static let adapterAheadBytes = 256 * 1024

  /// Consecutive entries that carry the same adapter.
  struct AdapterRun {
    let adapter: Adapter
    let first: Int
    let count: Int
  }

  /// Consecutive entries whose sequences begin with the same pages.
  struct AttentionGroup {
    let first: Int
    var count = 1
    /// Pages that all of them share and attend to wholly.
    var sharedPages: Int
  }

  init(
    trunk: Trunk, sequences: SequenceTable, workerCount: Int, contextLength: Int,
    clock: StepClock? = nil
  ) throws(IVGError) {
    self.trunk = trunk
    self.sequences = sequences
    self.clock = clock
    self.workerCount = workerCount
    configuration = trunk.configuration
    kernels = Kernels.current
    buffers = try ForwardBuffers(
      trunk: trunk, rows: Engine.batchLimit, workerCount: workerCount,
      contextLength: contextLength)
    entries = .allocate(capacity: Engine.batchLimit)
    adapterRuns.reserveCapacity(Engine.batchLimit)
    attentionGroups.reserveCapacity(Engine.batchLimit)
  }

  deinit { entries.deallocate() }

  static func bytes(trunk: Trunk, workerCount: Int, contextLength: Int) -> Int {
    ForwardBuffers.bytes(
      trunk: trunk, rows: Engine.batchLimit, workerCount: workerCount,
      contextLength: contextLength)
  }

  /// Makes room for that many outputs in one slice.
  func reserve(outputs: Int) throws(IVGError) {
    outputPlan.reserve(min(outputs, Engine.batchLimit * 4))
  }

  /// Lets go of the adapters of the last slice.
  func releaseAdapters() { adapterRuns.removeAll(keepingCapacity: true) }

  /// Takes a slice: at most `batchLimit` entries and the outputs that belong to them, in order.
  ///
  /// Throws `.outOfMemory` if an adapter of a larger rank than ever before does not fit.
  func load(
    entries slice: ArraySlice<Entry>, outputs: ArraySlice<Output>, adapters: [Adapter?],
    heads: [ValueHead], logits: UnsafeMutablePointer<Float>,
    results: UnsafeMutablePointer<Double>, cancel: CancelFlag
  ) throws(IVGError) {
    entryCount = slice.count
    var rank = 0
    adapterRuns.removeAll(keepingCapacity: true)
    for (row, entry) in slice.enumerated() {
      entries[row] = entry
      guard entry.adapter >= 0 else { continue }
      if row > 0, entries[row - 1].adapter == entry.adapter, let last = adapterRuns.popLast() {
        adapterRuns.append(
          AdapterRun(adapter: last.adapter, first: last.first, count: last.count + 1))
      } else {
        let adapter = adapters[Int(entry.adapter)]!
        adapterRuns.append(AdapterRun(adapter: adapter, first: row, count: 1))
        rank = max(rank, adapter.maximumRank)
      }
    }
    groupForAttention()
    buffers.prepareRotation(trunk: trunk, entries: entries, count: entryCount)
    try buffers.prepareRank(rank)
    outputPlan.build(
      outputs, firstEntry: slice.startIndex, trunk: trunk, heads: heads, logits: logits,
      scratch: buffers.outputLogits, results: results)
    self.cancel = cancel
    isStopped = false
  }

  /// Divides the slice into attention groups of up to `ForwardBuffers.attentionRows` entries, but leaves
  /// at least two units of work for each of several workers.
  private func groupForAttention() {
    attentionGroups.removeAll(keepingCapacity: true)
    let fair = entryCount * configuration.keyValueHeadCount / (2 * workerCount)
    let limit = workerCount == 1 ? buffers.attentionRows : min(buffers.attentionRows, fair)
    for row in 0..<entryCount {
      let wholePages = (Int(entries[row].position) + 1) / PagePool.tokensPerPage
      if let group = attentionGroups.last, group.count < limit {
        let mine = sequences.pages(entries[row].sequence)
        let theirs = sequences.pages(entries[group.first].sequence)
        var shared = 0
        while shared < min(group.sharedPages, wholePages), mine[shared] == theirs[shared] {
          shared += 1
        }
        // A group that shared less would read more in all.
        if shared > 0, 2 * shared >= group.sharedPages {
          attentionGroups[attentionGroups.count - 1].count += 1
          attentionGroups[attentionGroups.count - 1].sharedPages = shared
          continue
        }
      }
      attentionGroups.append(AttentionGroup(first: row, sharedPages: wholePages))
    }
  }

  /// Gives the time since the last reading to `phase`; to be called where all workers have done with it.
  func lap(_ phase: StepClock.Phase, _ worker: Worker) {
    if let clock, worker.index == 0 { clock.lap(phase) }
  }

  func run(_ worker: Worker) {
    if worker.index == 0 { clock?.count(rows: entryCount) }
    lap(.other, worker)
    embed(worker)
    lap(.embed, worker)
    for layer in 0..<configuration.layerCount {
      if worker.index == 0, cancel!.isRaised { isStopped = true }
      normalize(trunk.layers[layer].attentionNorm, worker)
      worker.barrier()
      lap(.normalize, worker)
      if isStopped { return }
      attention(layer, worker)
      feedForward(layer, worker)
    }
    if outputPlan.isEmpty { return }
    computeOutputs(worker)
    lap(.outputs, worker)
  }

  /// hidden[row] = the embedding of the row's token, scaled or with that of its position.
  private func embed(_ worker: Worker) {
    let size = configuration.hiddenSize
    let scale = configuration.architecture.scalesEmbedding ? Float(size).squareRoot() : 1
    for row in worker.share(of: entryCount) {
      let hidden = buffers.hidden + row * size
      trunk.embedding.dequantize(row: Int(entries[row].token), into: hidden, kernels: kernels)
      if scale != 1 { for index in 0..<size { hidden[index] *= scale } }
      if let positions = trunk.positionEmbedding {
        let position = buffers.normalized.row(row)
        positions.dequantize(row: Int(entries[row].position), into: position, kernels: kernels)
        kernels.table.pointee.add(hidden, position, size)
      }
    }
  }

  /// normalized[row] = norm(hidden[row]), or hidden[row] where there is no norm, also rounded to int8 for quantised
  /// weights. Each worker takes whole rows, the same ones as in `embed` and wherever rows are divided.
  func normalize(_ norm: NormWeights?, _ worker: Worker) {
    let size = configuration.hiddenSize
    for row in worker.share(of: entryCount) {
      let out = buffers.normalized.row(row)
      if let norm {
        normalizeRow(buffers.hidden + row * size, norm, width: size, into: out)
      } else {
        out.update(from: buffers.hidden + row * size, count: size)
      }
      buffers.normalized.quantize(row, kernels: kernels)
    }
  }

  /// hidden[row] += norm(output[row]) where the family normalises what a sublayer gives. The same rows of a worker as
  /// in `normalize`.
  func finish(_ norm: NormWeights?, _ worker: Worker) {
    guard let norm else { return }
    let size = configuration.hiddenSize
    for row in worker.share(of: entryCount) {
      let output = buffers.output + row * size
      normalizeRow(output, norm, width: size, into: output)
      kernels.table.pointee.add(buffers.hidden + row * size, output, size)
    }
  }

  /// `out` may be `row`.
  func normalizeRow(
    _ row: UnsafePointer<Float>, _ norm: NormWeights, width: Int,
    into out: UnsafeMutablePointer<Float>
  ) {
    let (table, epsilon) = (kernels.table.pointee, configuration.epsilon)
    switch configuration.architecture.normalization {
    case .rootMeanSquare: table.rms_norm(row, norm.weight, width, epsilon, out)
    case .layer: table.layer_norm(row, norm.weight, norm.bias, width, epsilon, out)
    }
  }
}
