_nstrace_completion() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("$value")
                [[ $value != *[:=/] ]] || compopt -o nospace
                ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" _NSTRACE_COMPLETE=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F _nstrace_completion nstrace 2>/dev/null || complete -F _nstrace_completion nstrace
