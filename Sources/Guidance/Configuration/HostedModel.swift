import Tensor

/// A model whose logits the host computes.
package final class HostedModel: @unchecked Sendable {
  /// One row asked about: all its tokens so far, and where its logits go, [vocabulary].
  package struct Row {
    package let tokens: UnsafePointer<Int32>
    package let tokenCount: Int
    package let logits: UnsafeMutablePointer<Float>
  }

  package let contextLength: Int
  /// Fills in the logits of the rows; false reports failure.
  private let callback: ([Row], _ vocabularySize: Int) -> Bool
  private let finalizer: () -> Void

  package init(
    contextLength: Int, compute: @escaping ([Row], Int) -> Bool,
    finalizer: @escaping () -> Void
  ) {
    self.contextLength = contextLength
    callback = compute
    self.finalizer = finalizer
  }

  deinit { finalizer() }

  /// Asks for the logits behind each of the contexts, into the row of `logits` at the same place.
  ///
  /// Throws `.callback` if the host reports failure.
  func compute(
    _ contexts: [[Int32]], into logits: [UnsafeMutablePointer<Float>], vocabularySize: Int
  ) throws(IVGError) {
    // One flat copy, so that the pointers hold for the whole call.
    let flat = contexts.flatMap { $0 }
    let succeeded = flat.withUnsafeBufferPointer { flat in
      var start = 0
      var rows: [Row] = []
      for (context, logits) in zip(contexts, logits) {
        rows.append(
          Row(tokens: flat.baseAddress! + start, tokenCount: context.count, logits: logits))
        start += context.count
      }
      return callback(rows, vocabularySize)
    }
    guard succeeded else {
      throw IVGError(.callback, "the hosted model's callback reported failure")
    }
  }
}
