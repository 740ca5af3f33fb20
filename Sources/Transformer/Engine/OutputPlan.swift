import CIVGKernels
import Tensor

/// How the outputs of one slice are computed: which rows get a final norm, and which products of them
/// are needed. Built before the workers start; only rows and candidates that somebody asked for cost
/// anything.
struct OutputPlan {
  /// One product of consecutive final rows with a matrix.
  struct Job {
    enum Reduction {
      case none
      /// out[i] = log softmax(row i)[token i]; the rows are scratch.
      case logProbability
      /// out[i] = the single product + bias
      case value(bias: Float)
    }

    var matrix: WeightMatrix
    var firstRow: Int
    var count: Int
    var out: UnsafeMutablePointer<Float>
    var stride: Int
    var reduction: Reduction
    /// The outputs it serves: a range of `reductions`.
    var reductions: Range<Int>
    /// Adds to every element: the bias of a head.
    var bias: Float = 0
    /// Bounds every element, see `ModelConfiguration.outputCap`.
    var cap: Float = 0
  }

  /// One scalar result.
  struct Reduction {
    var token: Int32
    var result: UnsafeMutablePointer<Double>
  }

  private(set) var jobs: [Job] = []
  private(set) var reductions: [Reduction] = []
  /// For each final row, its row in the slice.
  private(set) var rows: [Int] = []
  /// Final rows whose state goes to a caller's buffer.
  private(set) var hidden: [(row: Int, out: UnsafeMutablePointer<Float>)] = []

  var isEmpty: Bool { rows.isEmpty }

  mutating func reserve(_ count: Int) {
    jobs.reserveCapacity(count)
    reductions.reserveCapacity(count)
    rows.reserveCapacity(count)
  }

  /// Plans `outputs`, ordered by entry; `firstEntry` is the slice's first. `scratch`:
  /// [outputRows, output size].
  mutating func build(
    _ outputs: ArraySlice<Output>, firstEntry: Int, trunk: Trunk, heads: [ValueHead],
    logits: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>,
    results: UnsafeMutablePointer<Double>
  ) {
    jobs.removeAll(keepingCapacity: true)
    reductions.removeAll(keepingCapacity: true)
    rows.removeAll(keepingCapacity: true)
    hidden.removeAll(keepingCapacity: true)
    let width = trunk.outputSize
    for output in outputs {
      let entry = output.entry - firstEntry
      if rows.last != entry { rows.append(entry) }
      let row = rows.count - 1
      switch output.kind {
      case .logits(let target):
        add(
          trunk.output, row, logits + target * width, width, cap: trunk.configuration.outputCap)
      case .headVector(let index, let target):
        let head = heads[Int(index)]
        add(head.weight, row, logits + target * width, width, bias: head.bias)
      case .headValue(let index, let token):
        let head = heads[Int(index)]
        add(
          Job(
            matrix: head.weight.rows(Int(token)..<Int(token) + 1), firstRow: row, count: 1,
            out: scratch,
            stride: width, reduction: .value(bias: head.bias),
            reductions: reductions.count..<reductions.count + 1),
          Reduction(token: token, result: results + output.slot))
      case .logProbability(let token):
        addLogProbability(
          trunk, row, scratch, width,
          Reduction(token: token, result: results + output.slot))
      case .hidden(let out):
        hidden.append((row, out))
      }
    }
  }

  /// A product whose rows stay; joins the job before where rows and targets follow on.
  private mutating func add(
    _ matrix: WeightMatrix, _ row: Int, _ out: UnsafeMutablePointer<Float>, _ stride: Int,
    bias: Float = 0, cap: Float = 0
  ) {
    if let last = jobs.last, case .none = last.reduction, last.matrix.data == matrix.data,
      last.firstRow + last.count == row, last.out + last.count * stride == out
    {
      jobs[jobs.count - 1].count += 1
      return
    }
    jobs.append(
      Job(
        matrix: matrix, firstRow: row, count: 1, out: out, stride: stride, reduction: .none,
        reductions: 0..<0, bias: bias, cap: cap))
  }

  private mutating func add(_ job: Job, _ reduction: Reduction) {
    reductions.append(reduction)
    jobs.append(job)
  }

  private mutating func addLogProbability(
    _ trunk: Trunk, _ row: Int, _ scratch: UnsafeMutablePointer<Float>, _ width: Int,
    _ reduction: Reduction
  ) {
    reductions.append(reduction)
    if let last = jobs.last, case .logProbability = last.reduction,
      last.count < ForwardBuffers.outputRows, last.firstRow + last.count == row
    {
      jobs[jobs.count - 1].count += 1
      jobs[jobs.count - 1].reductions = last.reductions.lowerBound..<reductions.count
      return
    }
    jobs.append(
      Job(
        matrix: trunk.output, firstRow: row, count: 1, out: scratch, stride: width,
        reduction: .logProbability, reductions: reductions.count - 1..<reductions.count,
        cap: trunk.configuration.outputCap))
  }
}
