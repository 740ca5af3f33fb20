/// Mistral's instruction format and its spacings.
extension ChatStyle {
  /// Mistral 7B Instruct 0.1 and 0.2: no system message.
  static let mistralOld = ChatStyle(
    name: "Mistral", sources: [mistralOldSource], opening: "\u{1}",
    user: ChatTurn(before: "[INST] ", end: "", after: " [/INST]"),
    assistant: ChatTurn(before: "", end: "\u{2}"), firstSystem: .refused, laterSystem: .refused,
    generates: .never, alternates: true)

  /// Version 1: the system message in the user's first turn.
  static let mistralV1 = ChatStyle(
    name: "Mistral v1", sources: [mistralV1Source], opening: "\u{1}",
    user: ChatTurn(before: " [INST] ", end: "", after: " [/INST]"),
    assistant: ChatTurn(before: " ", end: "\u{2}"),
    firstSystem: .intoFirst(before: "", after: "\n\n", isTrimmed: false), laterSystem: .refused,
    generates: .never, alternates: true)

  /// Version 3: the system message in the user's last turn.
  static let mistralV3 = ChatStyle(
    name: "Mistral v3", sources: [mistralV3Source], opening: "\u{1}",
    user: ChatTurn(before: "[INST] ", end: "", after: "[/INST]"),
    assistant: ChatTurn(before: " ", end: "\u{2}", trims: true),
    firstSystem: .intoLast(after: "\n\n"), laterSystem: .refused, generates: .never,
    alternates: true)

  /// Version 3 for the tokenizer of Mistral Nemo: no spaces.
  static let mistralNemo = ChatStyle(
    name: "Mistral Nemo", sources: [mistralNemoSource], opening: "\u{1}",
    user: ChatTurn(before: "[INST]", end: "", after: "[/INST]"),
    assistant: ChatTurn(before: "", end: "\u{2}"), firstSystem: .intoLast(after: "\n\n"),
    laterSystem: .refused, generates: .never, alternates: true)

  /// Version 7: system messages of their own.
  static let mistralV7 = ChatStyle(
    name: "Mistral v7", sources: [mistralV7Source], opening: "\u{1}",
    user: ChatTurn(before: "[INST] ", end: "", after: "[/INST]"),
    assistant: ChatTurn(before: " ", end: "\u{2}"), firstSystem: .turn(mistralSystem),
    laterSystem: .turn(mistralSystem), generates: .never)

  private static let mistralSystem = ChatTurn(
    before: "[SYSTEM_PROMPT] ", end: "", after: "[/SYSTEM_PROMPT]")

  /// Mistral-7B-Instruct-v0.2
  private static let mistralOldSource = #"""
    {{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}
    """#

  /// Mistral-7B-Instruct-v0.2, later
  private static let mistralV1Source = #"""
    {%- if messages[0]['role'] == 'system' %}
        {%- set system_message = messages[0]['content'] %}
        {%- set loop_messages = messages[1:] %}
    {%- else %}
        {%- set loop_messages = messages %}
    {%- endif %}

    {{- bos_token }}
    {%- for message in loop_messages %}
        {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
            {{- raise_exception('After the optional system message, conversation roles must alternate user/assistant/user/assistant/...') }}
        {%- endif %}
        {%- if message['role'] == 'user' %}
            {%- if loop.first and system_message is defined %}
                {{- ' [INST] ' + system_message + '\n\n' + message['content'] + ' [/INST]' }}
            {%- else %}
                {{- ' [INST] ' + message['content'] + ' [/INST]' }}
            {%- endif %}
        {%- elif message['role'] == 'assistant' %}
            {{- ' ' + message['content'] + eos_token}}
        {%- else %}
            {{- raise_exception('Only user and assistant roles are supported, with the exception of an initial optional system message!') }}
        {%- endif %}
    {%- endfor %}
    """#

  /// Mistral-Large-Instruct-2407
  private static let mistralV3Source = mistralTools(
    space: " ", call: "message.tool_calls is defined and message.tool_calls is not none",
    answer: #"" " + message["content"]|trim"#)

  /// Mistral-Nemo-Instruct-2407
  private static let mistralNemoSource = mistralTools(
    space: "", call: "(message.tool_calls is defined and message.tool_calls is not none)",
    answer: #"message["content"]"#)

  /// The two templates with tools, which differ in the space behind a mark and what they make of an answer.
  private static func mistralTools(space: String, call: String, answer: String) -> String {
    #"""
    {%- if messages[0]["role"] == "system" %}
        {%- set system_message = messages[0]["content"] %}
        {%- set loop_messages = messages[1:] %}
    {%- else %}
        {%- set loop_messages = messages %}
    {%- endif %}
    {%- if not tools is defined %}
        {%- set tools = none %}
    {%- endif %}
    {%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}

    {#- This block checks for alternating user/assistant messages, skipping tool calling messages #}
    {%- set ns = namespace() %}
    {%- set ns.index = 0 %}
    {%- for message in loop_messages %}
        {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
            {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
                {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
            {%- endif %}
            {%- set ns.index = ns.index + 1 %}
        {%- endif %}
    {%- endfor %}

    {{- bos_token }}
    {%- for message in loop_messages %}
        {%- if message["role"] == "user" %}
            {%- if tools is not none and (message == user_messages[-1]) %}
                {{- "[AVAILABLE_TOOLS]\#(space)[" }}
                {%- for tool in tools %}
                    {%- set tool = tool.function %}
                    {{- '{"type": "function", "function": {' }}
                    {%- for key, val in tool.items() if key != "return" %}
                        {%- if val is string %}
                            {{- '"' + key + '": "' + val + '"' }}
                        {%- else %}
                            {{- '"' + key + '": ' + val|tojson }}
                        {%- endif %}
                        {%- if not loop.last %}
                            {{- ", " }}
                        {%- endif %}
                    {%- endfor %}
                    {{- "}}" }}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- else %}
                        {{- "]" }}
                    {%- endif %}
                {%- endfor %}
                {{- "[/AVAILABLE_TOOLS]" }}
                {%- endif %}
            {%- if loop.last and system_message is defined %}
                {{- "[INST]\#(space)" + system_message + "\n\n" + message["content"] + "[/INST]" }}
            {%- else %}
                {{- "[INST]\#(space)" + message["content"] + "[/INST]" }}
            {%- endif %}
        {%- elif \#(call) %}
            {{- "[TOOL_CALLS]\#(space)[" }}
            {%- for tool_call in message.tool_calls %}
                {%- set out = tool_call.function|tojson %}
                {{- out[:-1] }}
                {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                    {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
                {%- endif %}
                {{- ', "id": "' + tool_call.id + '"}' }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" + eos_token }}
                {%- endif %}
            {%- endfor %}
        {%- elif message["role"] == "assistant" %}
            {{- \#(answer) + eos_token}}
        {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
            {%- if message.content is defined and message.content.content is defined %}
                {%- set content = message.content.content %}
            {%- else %}
                {%- set content = message.content %}
            {%- endif %}
            {{- '[TOOL_RESULTS]\#(space){"content": ' + content|string + ", " }}
            {%- if not message.tool_call_id is defined or message.tool_call_id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
        {%- else %}
            {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
        {%- endif %}
    {%- endfor %}
    """#
  }

  /// Mistral-Large-Instruct-2411
  private static let mistralV7Source = #"""
    {{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + '[/INST]' }}{% elif message['role'] == 'system' %}{{ '[SYSTEM_PROMPT] ' + message['content'] + '[/SYSTEM_PROMPT]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}{% else %}{{ raise_exception('Only user, system and assistant roles are supported!') }}{% endif %}{% endfor %}
    """#
}
