import Glibc
import Tensor

/// What a forward pass writes for feed-forward layers of which each row passes a few experts. A passage is one row
/// with one expert; passages of an expert follow each other, so that its weights are read once for all its rows.
final class ExpertBuffers {
  let scores: UnsafeMutablePointer<Float>  // [rows, experts] of the router
  /// The experts of each row, ascending, and their weights.
  let chosen: UnsafeMutablePointer<Int32>  // [rows, used]
  let weights: UnsafeMutablePointer<Float>  // [rows, used]
  /// The passage of each choice, and the row of each passage.
  let passages: UnsafeMutablePointer<Int32>  // [rows, used]
  let rows: UnsafeMutablePointer<Int32>  // [passages]
  /// Where each expert's passages begin; the last entry is their number.
  let starts: UnsafeMutablePointer<Int32>  // [experts + 1]
  let input: RowBuffer  // [passages, hidden]
  let output: UnsafeMutablePointer<Float>  // [passages, hidden]
  private let expertCount: Int
  private let used: Int

  init(_ c: ModelConfiguration, rows count: Int, arena: inout Arena) {
    expertCount = c.expertCount
    used = c.usedExpertCount
    scores = arena.take(Float.self, count: count * expertCount)
    chosen = arena.take(Int32.self, count: count * used)
    weights = arena.take(Float.self, count: count * used)
    passages = arena.take(Int32.self, count: count * used)
    rows = arena.take(Int32.self, count: count * used)
    starts = arena.take(Int32.self, count: expertCount + 1)
    input = RowBuffer(width: c.hiddenSize, rows: count * used, arena: &arena)
    output = arena.take(Float.self, count: count * used * c.hiddenSize)
  }

  /// An upper bound on what `init` takes.
  static func bytes(_ c: ModelConfiguration, rows: Int) -> Int {
    let passages = rows * c.usedExpertCount
    return 4 * (rows * c.expertCount + 4 * passages + c.expertCount + 1)
      + passages * (RowBuffer.bytes(width: c.hiddenSize) + 4 * c.hiddenSize)
  }

  /// Chooses the experts with the largest scores for `row`, the first of equal ones, with the softmax of these scores
  /// as weights. Scores that are not numbers make weights that are none.
  func choose(_ row: Int) {
    let scores = scores + row * expertCount
    let chosen = chosen + row * used
    let weights = weights + row * used
    var most = -Float.infinity
    for place in 0..<used {
      var best = -1
      for expert in 0..<expertCount {
        let isTaken = (0..<place).contains { chosen[$0] == Int32(expert) }
        if !isTaken, best < 0 || scores[expert] > scores[best] { best = expert }
      }
      chosen[place] = Int32(best)
      if place == 0 { most = scores[best] }
    }
    var choices = UnsafeMutableBufferPointer(start: chosen, count: used)
    choices.sort()
    var total: Float = 0
    for place in 0..<used {
      weights[place] = Float(exp(Double(scores[Int(chosen[place])] - most)))
      total += weights[place]
    }
    for place in 0..<used { weights[place] /= total }
  }

  /// Orders the choices of `count` rows by expert.
  func group(_ count: Int) {
    starts.update(repeating: 0, count: expertCount + 1)
    for choice in 0..<count * used { starts[Int(chosen[choice]) + 1] += 1 }
    for expert in 0..<expertCount { starts[expert + 1] += starts[expert] }
    for choice in 0..<count * used {
      let expert = Int(chosen[choice])
      passages[choice] = starts[expert]
      rows[Int(starts[expert])] = Int32(choice / used)
      starts[expert] += 1
    }
    // Each start has moved to its end, which is the next one's start.
    for expert in (0..<expertCount).reversed() { starts[expert + 1] = starts[expert] }
    starts[0] = 0
  }
}
