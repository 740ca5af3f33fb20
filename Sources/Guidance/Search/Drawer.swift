import Tensor

/// What one thread needs to draw tokens: the logits in work, the sampler, and which tokens a penalty has met.
///
/// Threads: one at a time; a search has one for each worker that draws.
final class Drawer {
  let work: AlignedBuffer<Float>  // [vocabulary] the logits of the row being sampled
  let sampler: Sampler
  private var seen: [UInt32]  // [vocabulary] when a token was last penalised
  private var seenStamp: UInt32 = 0

  /// Throws `.outOfMemory`.
  init(_ request: Request) throws(IVGError) {
    sampler = Sampler(
      options: request.options.sampling, seed: request.options.seed,
      vocabularySize: request.vocabularySize)
    seen =
      request.options.sampling.repetitionPenalty == 1
      ? [] : [UInt32](repeating: 0, count: request.vocabularySize)
    work = try AlignedBuffer(count: request.vocabularySize)
  }

  /// How many a request has use for: tokens that only a callback or another pass can decide are drawn by
  /// the calling thread.
  static func count(for request: Request, threadCount: Int) -> Int {
    let needsCaller =
      request.options.processor != nil
      || request.explicits.contains { $0.role.contains(.tilt) && $0.head.kind == .scalar }
    return needsCaller ? 1 : max(1, min(threadCount, request.rowCount))
  }

  /// Bytes that one takes.
  static func bytes(_ request: Request) -> Int {
    Sampler.bytes(
      options: request.options.sampling, vocabularySize: request.vocabularySize)
      + request.vocabularySize * 8
  }

  /// Divides positive and multiplies negative logits of tokens that prompt or row contain, each once.
  func penalize(_ penalty: Float, prompt: [Int32], row: Row) {
    guard penalty != 1 else { return }
    seenStamp &+= 1
    for token in prompt { penalize(token, penalty) }
    for index in 0..<row.count { penalize(row.tokens[index], penalty) }
  }

  private func penalize(_ token: Int32, _ penalty: Float) {
    guard Int(token) < seen.count, seen[Int(token)] != seenStamp else { return }
    seen[Int(token)] = seenStamp
    let logit = work.pointer[Int(token)]
    work.pointer[Int(token)] = logit > 0 ? logit / penalty : logit * penalty
  }
}

/// What came of drawing one row's token. Taken by the calling thread, in the order of rows.
struct Drawn {
  var token: Int32 = -1
  var logProbability: Float = 0
  var failure: IVGError?
}

/// Draws the tokens of a search's waiting rows, a row at a time by whichever worker is free.
final class DrawProgram: ParallelProgram {
  private unowned let search: Search

  init(_ search: Search) { self.search = search }

  func run(_ worker: Worker) {
    guard worker.index < search.drawers.count else { return }
    while let range = worker.next(of: search.waiting.count) {
      for index in range { search.draw(search.waiting[index], search.drawers[worker.index]) }
    }
  }
}
