function _nstrace_completion
    set -l token (commandline -ct)
    set -l prefix (string match -r -- '^--[a-z-]+=' $token)
    for line in (env _NSTRACE_COMPLETE=fish_complete COMP_WORDS=(commandline -cp | string collect) COMP_CWORD=$token nstrace 2>/dev/null)
        set -l found (string split -m 1 , -- $line)
        switch $found[1]
            case file
                for path in (__fish_complete_path (string replace -- "$prefix" '' $token))
                    echo "$prefix$path"
                end
            case plain
                echo "$prefix$found[2]"
        end
    end
end

complete --no-files --command nstrace --arguments '(_nstrace_completion)'
