import Glibc
import Tensor

/// Writes a model anew with fewer bits for its weights, one piece after the other.
///
/// The source is mapped, the target is written in order, and what is in memory is a few chunks of each. The same
/// source and options give the same bytes, for any number of threads and on every CPU.
///
/// Threads: one call at a time; `cancelFlag` may be raised by any.
package final class Quantizer {
  /// Makes the running, or else the next, `next` throw `.cancelled`.
  package let cancelFlag = CancelFlag()
  /// Size of the source, and of the file that comes to be, in bytes of tensors.
  package let sizeIn: Int
  package let sizeOut: Int
  /// Every tensor of the source, in its order.
  package let tensors: [GGUFTensor]
  /// Bytes beside the mapped files.
  package let memory: Int

  private let source: GGUFFile
  private let importance: ImportanceFile?
  private let plan: QuantizationPlan
  private let team: ThreadTeam
  private let piece: QuantizerPiece
  /// Gone when the file is complete, and after an error that ends all.
  private var stream: GGUFStream?
  private var failure: IVGError?

  // Where it stands.
  private var tensor = 0
  private var chunk = 0
  private var done = 0
  private var weights: [Float]?
  private var sums = (differences: 0.0, squares: 0.0)

  /// Checks everything, and begins the target under a name of its own beside `target`.
  ///
  /// Throws `.invalidArgument` for unknown types, or a target that is the source; `.mismatch` for a source that is no whole
  /// model, or importance weights of another; `.outOfMemory` naming bytes needed and budget; `.notFound`, `.io`,
  /// `.corruptFile`, `.unsupported` of the files.
  package init(source path: String, target: String, options: QuantizerOptions) throws(IVGError) {
    let choice = try QuantizationChoice(options)
    source = try GGUFFile(path: path)
    try Self.checkKind(source)
    importance = try options.importancePath.map { (path) throws(IVGError) in
      try ImportanceFile(path: path)
    }
    for read in [path] + (options.importancePath.map { [$0] } ?? []) {
      try Self.checkDistinct(target, read)
    }
    plan = try QuantizationPlan(source, choice, hasImportance: importance != nil)
    tensors = source.tensors
    if let importance { try Self.check(importance, tensors, plan) }
    let writer = Self.writer(source, plan, choice)
    let sizes = Self.sizes(tensors, plan.types, options)
    memory = try Self.checkedMemory(source, tensors, sizes, importance, options)
    sizeIn = tensors.reduce(0) { $0 + $1.byteCount }
    sizeOut = zip(tensors, plan.types).reduce(0) { sum, pair in
      sum + pair.0.rows * (pair.0.columns / pair.1.blockElements * pair.1.blockBytes)
    }
    team = try ThreadTeam(threadCount: options.threadCount)
    piece = try QuantizerPiece(
      threads: options.threadCount, capacity: sizes.capacity, slotBytes: sizes.slotBytes,
      cancel: cancelFlag)
    stream = try writer.begin(target)
  }

  /// Does the next piece; nil when the file is complete under its name, and ever after.
  ///
  /// Throws `.cancelled`, after which the call may be repeated; `.invalidArgument` for a weight that is not finite or
  /// too large for its new type, `.io` and what the importance weights throw, after which the file is gone.
  package func next() throws(IVGError) -> QuantizerReport? {
    if let failure { throw failure }
    if cancelFlag.take() { throw Self.cancelled }
    guard let stream else { return nil }
    do throws(IVGError) {
      if tensor < tensors.count { return try work(stream) }
      try stream.commit()
      self.stream = nil
      return nil
    } catch {
      if error.kind != .cancelled {
        failure = error
        self.stream = nil
      }
      throw error
    }
  }

  /// The types that a tensor has and gets.
  package func types(_ index: Int) -> (from: TensorType, to: TensorType) {
    (tensors[index].type, plan.types[index])
  }

  private static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  private static let cancelled = IVGError(.cancelled, "quantising was cancelled")

  private func work(_ stream: GGUFStream) throws(IVGError) -> QuantizerReport {
    let began = Self.now
    let number = tensor
    let entry = tensors[number]
    let division = TensorDivision(entry, elements: QuantizerPiece.chunkElements)
    if chunk == 0 {
      sums = (0, 0)
      weights =
        entry.type == plan.types[number]
        ? nil : try importance?.weights(entry, experts: division.experts)
    }
    let chunks = chunk..<min(chunk + piece.capacity, division.count)
    run(entry, to: plan.types[number], division, chunks)
    if cancelFlag.take() { throw Self.cancelled }
    if let problem = piece.problem() { throw failure(problem, entry, plan.types[number]) }
    for place in 0..<chunks.count { try stream.write(piece.encoded(place)) }
    sums.differences += piece.sums.differences
    sums.squares += piece.sums.squares
    for place in chunks { done += division[place].byteCount(entry.type) }
    chunk = chunks.upperBound
    let isEnd = chunk == division.count
    if isEnd {
      try stream.endTensor()
      tensor += 1
      chunk = 0
    }
    return QuantizerReport(
      tensorIndex: number, tensor: entry.name, from: entry.type, to: plan.types[number], done: done,
      total: sizeIn, error: sums.squares > 0 ? (sums.differences / sums.squares).squareRoot() : 0,
      endsTensor: isEnd, seconds: Self.now - began)
  }

  private func run(
    _ entry: GGUFTensor, to type: TensorType, _ division: TensorDivision, _ chunks: Range<Int>
  ) {
    func run(_ weights: UnsafePointer<Float>?) {
      let job = QuantizerPiece.Job(
        source: source.data(entry), from: entry.type, to: type, division: division,
        weights: weights)
      piece.run(job, chunks: chunks, on: team)
    }
    guard let weights else { return run(nil) }
    weights.withUnsafeBufferPointer { run($0.baseAddress) }
  }

  private func failure(_ problem: QuantizerPiece.Problem, _ entry: GGUFTensor, _ type: TensorType)
    -> IVGError
  {
    let what =
      problem.value.isFinite
      ? "is \(problem.value); \(type.name) holds at most \(type.greatestMagnitude)"
      : "is \(problem.value); it must be finite"
    let row = problem.element / entry.columns
    return IVGError(
      .invalidArgument,
      "\(source.path): tensor \(quoted(entry.name)): weight \(problem.element % entry.columns) of row \(row) \(what)"
    )
  }
}
