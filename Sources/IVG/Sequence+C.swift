import CIVG
import Guidance
import Tensor

final class SequenceHandle {
  let owner: SessionHandle
  let sequence: EvaluatedSequence

  init(_ owner: SessionHandle, _ sequence: EvaluatedSequence) {
    self.owner = owner
    self.sequence = sequence
  }

  static func of(_ pointer: OpaquePointer) -> SequenceHandle {
    Handle.object(pointer, as: SequenceHandle.self)
  }
}

@_cdecl("ivg_sequence_create") @implementation
public func ivg_sequence_create(
  _ out: UnsafeMutablePointer<OpaquePointer?>, _ session: OpaquePointer,
  _ adapter: OpaquePointer?, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let owner = SessionHandle.of(session)
    let adapter = adapter.map { Handle.object($0, as: AdapterHandle.self).adapter }
    let sequence = try EvaluatedSequence(session: owner.session, adapter: adapter)
    out.pointee = Handle.retain(SequenceHandle(owner, sequence))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_sequence_fork") @implementation
public func ivg_sequence_fork(
  _ out: UnsafeMutablePointer<OpaquePointer?>, _ source: OpaquePointer,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let handle = SequenceHandle.of(source)
    out.pointee = Handle.retain(
      SequenceHandle(handle.owner, try EvaluatedSequence(copying: handle.sequence)))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_sequence_free") @implementation
public func ivg_sequence_free(_ sequence: OpaquePointer?) {
  Handle.release(sequence, as: SequenceHandle.self)
}

@_cdecl("ivg_sequence_evaluate") @implementation
public func ivg_sequence_evaluate(
  _ sequence: OpaquePointer, _ tokens: UnsafePointer<Int32>, _ count: Int,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    try SequenceHandle.of(sequence).sequence.evaluate(Input.array(tokens, count, "count"))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_sequence_evaluate_batch") @implementation
public func ivg_sequence_evaluate_batch(
  _ extensions: UnsafePointer<ivg_sequence_extension>, _ count: Int,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    var parts: [EvaluatedSequence.Extension] = []
    for (index, part) in try Input.array(extensions, count, "count").enumerated() {
      let name = "token_count of sequence \(index)"
      let tokens =
        try part.tokens.map { tokens throws(IVGError) in
          try Input.array(tokens, part.token_count, name)
        } ?? UnsafeBufferPointer(start: nil, count: 0)
      guard part.tokens != nil || part.token_count == 0 else {
        throw IVGError(.invalidArgument, "\(name) is \(part.token_count), but tokens is NULL")
      }
      parts.append(.init(SequenceHandle.of(part.sequence).sequence, tokens))
    }
    try EvaluatedSequence.evaluate(parts)
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_sequence_truncate") @implementation
public func ivg_sequence_truncate(
  _ sequence: OpaquePointer, _ length: Int, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    try SequenceHandle.of(sequence).sequence.truncate(to: length)
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_sequence_length") @implementation
public func ivg_sequence_length(_ sequence: OpaquePointer) -> Int {
  SequenceHandle.of(sequence).sequence.length
}

@_cdecl("ivg_sequence_logits") @implementation
public func ivg_sequence_logits(
  _ sequence: OpaquePointer, _ logits: UnsafeMutablePointer<UnsafePointer<Float>?>,
  _ count: UnsafeMutablePointer<Int>, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let found = try SequenceHandle.of(sequence).sequence.logits()
    logits.pointee = found.baseAddress
    count.pointee = found.count
    return ivg_status(IVG_OK)
  }
}
